"""Agents behind TLS and credentials: each group of targets with its own, read again when they change."""

from pathlib import Path

import pytest
from support.exposition.pages import healthy_8_gpus
from support.gpus.devices import eventually
from support.servers.documents import CERTIFICATE, showing

from perwatt_agent.clock import SystemClock
from perwatt_aggregator.aggregator import Aggregator
from perwatt_aggregator.config import AggregatorConfig
from perwatt_aggregator.targets.access import Access
from perwatt_aggregator.targets.config import AccessConfig, AgentTargetConfig, BasicAuthConfig, SourcesConfig
from perwatt_exporter.families.all import ALL
from perwatt_exporter.page.render import Renderer, page

PAGE = page(Renderer().collected(((family, family.read(healthy_8_gpus())) for family in ALL), "text"), "text")


def secret(path: Path, text: str) -> Path:
    path.write_text(text)
    path.chmod(0o600)
    return path


async def test_each_agent_with_its_own(tmp_path: Path) -> None:
    """The right CA and token give a reading; other trust and a missing token have their own reasons."""
    token = secret(tmp_path / "token", "sesame\n")
    async with showing({"/metrics": PAGE, "/open": PAGE}, tls=True) as server:
        server.authorization = "Bearer sesame"
        url = server.url.replace("127.0.0.1", "localhost")
        agents = (
            AgentTargetConfig(f"{url}/metrics", ca_file=CERTIFICATE, bearer_token_file=token),
            AgentTargetConfig(f"{url}/metrics?a", bearer_token_file=token),
            AgentTargetConfig(f"{url}/metrics?b", ca_file=CERTIFICATE),
            AgentTargetConfig(f"{url}/metrics?c", ca_file=CERTIFICATE, bearer_token_file=tmp_path / "none"),
        )
        aggregator = Aggregator(AggregatorConfig(SourcesConfig(agents), 0.2), SystemClock())
        await aggregator.start()
        try:
            nodes = aggregator.nodes
            await eventually(lambda: all(node.up or node.failure for node in nodes))
            assert [None, "tls", "http_status", "token_file"] == [node.failure for node in nodes]
            # A token that was renewed is used from the next scrape on.
            server.authorization = "Bearer open"
            await eventually(lambda: nodes[0].failure == "http_status")
            secret(token, "open\n")
            await eventually(lambda: nodes[0].up)
        finally:
            await aggregator.stop()


def test_basic_authentication(tmp_path: Path) -> None:
    """User and password, each from its file, are one header."""
    user = tmp_path / "user"
    user.write_text("gpu\n")
    basic = BasicAuthConfig(username_file=user, password_file=secret(tmp_path / "password", "pw\n"))
    _, headers = Access(AccessConfig(basic_auth=basic)).of("https://a/metrics")

    assert {"Authorization": "Basic Z3B1OnB3"} == headers


def test_a_secret_that_everybody_may_read(tmp_path: Path) -> None:
    """It is refused, by the name of its file."""
    token = secret(tmp_path / "token", "sesame")
    token.chmod(0o644)

    with pytest.raises(ValueError, match="token: expected a file that is not readable by everybody"):
        Access(AccessConfig(bearer_token_file=token)).of("https://a/metrics")


def test_a_secret_over_plain_http(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """It is sent, and the log says once that others can read it; to this machine itself nobody can."""
    access = Access(AccessConfig(bearer_token_file=secret(tmp_path / "token", "sesame")))
    access.of("http://127.0.0.1:1/metrics")
    assert "" == caplog.text
    for _ in range(3):
        access.of("http://a:1/metrics")

    assert 1 == caplog.text.count("over plain HTTP")
