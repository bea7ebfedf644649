"""
The image and the compose file, as far as they can be judged without a container engine.

What this cannot prove is listed in deploy/README.md.
"""

import json
import re
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).parents[2]
DOCKERFILE = ROOT / "deploy" / "docker" / "Dockerfile"
COMPOSE_FILE = ROOT / "deploy" / "compose" / "compose.yaml"
COMPOSE: dict[str, Any] = yaml.safe_load(COMPOSE_FILE.read_text())
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]

# Of other people's images, the ports and folders that they document.
PORTS = {"agent": 9836, "aggregator": 9837, "prometheus": 9090, "grafana": 3000}


def instructions() -> list[tuple[str, str]]:
    """The Dockerfile's (instruction, arguments), continued lines joined."""
    text = re.sub(r"\\\n\s*", "", DOCKERFILE.read_text())
    lines = [line.partition(" ") for line in text.splitlines() if line and not line.startswith("#")]
    return [(word, rest.strip()) for word, _, rest in lines]


def mounts(service: str) -> list[tuple[str, str]]:
    return [tuple(volume.split(":")[:2]) for volume in SERVICES[service].get("volumes", [])]


def mounted_files(service: str) -> dict[str, Path]:
    """What of this repository a service sees, by its path in the container."""
    return {inside: COMPOSE_FILE.parent / outside for outside, inside in mounts(service) if outside[0] == "."}


def health_checks() -> list[tuple[int, list[str]]]:
    """The port and command of each of our services."""
    [image_check] = [rest for word, rest in instructions() if word == "HEALTHCHECK"]
    image_command = json.loads(image_check[image_check.index("CMD") + 3 :])
    keyword, *aggregator_command = SERVICES["aggregator"]["healthcheck"]["test"]
    assert "CMD" == keyword
    return [(PORTS["agent"], image_command), (PORTS["aggregator"], aggregator_command)]


@contextmanager
def page(status: int) -> Iterator[int]:
    """A server that answers /-/healthy with *status*, and anything else with 404."""

    class Page(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(status if self.path == "/-/healthy" else 404)
            self.end_headers()

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class named it
            """Probes are not news."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Page) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield server.server_port
        finally:
            server.shutdown()
            thread.join()


def test_image_copies_only_what_is_there_and_not_ignored() -> None:
    """Each source of a COPY exists, and the ignore file, which lets nothing else through, lets it through."""
    sources = [
        source
        for word, rest in instructions()
        if word == "COPY" and not rest.startswith("--from")
        for source in rest.split()[:-1]
    ]
    ignore = DOCKERFILE.with_name("Dockerfile.dockerignore").read_text().splitlines()

    assert "*" == ignore[0]
    assert {f"!{source}" for source in sources} == {line for line in ignore if line.startswith("!")}
    assert [] == [source for source in sources if not (ROOT / source).exists()]


def test_image_is_locked_unprivileged_and_sees_gpus() -> None:
    """Dependencies come with hashes, the last user is not root, and the toolkit brings NVML for all GPUs."""
    steps = instructions()
    [environment] = [rest for word, rest in steps if word == "ENV"]
    users = [rest for word, rest in steps if word == "USER"]

    assert [True] == [
        "--require-hashes" in rest for word, rest in steps if "requirements.lock" in rest and word == "RUN"
    ]
    assert users[-1].isdigit()
    assert "0" != users[-1]
    assert {"NVIDIA_VISIBLE_DEVICES=all", "NVIDIA_DRIVER_CAPABILITIES=utility"} <= set(environment.split())
    assert ("EXPOSE", "9836 9837") in steps


@pytest.mark.parametrize(("status", "healthy"), [(200, True), (503, False)])
def test_health_checks_tell_health(status: int, healthy: bool) -> None:
    """The commands of image and compose file, against a healthy page and a sick one."""
    with page(status) as port:
        for own_port, (python, *arguments) in health_checks():
            command = [argument.replace(str(own_port), str(port)) for argument in arguments]
            result = subprocess.run([sys.executable, *command], capture_output=True, text=True, check=False)

            assert "/opt/perwatt/bin/python" == python
            assert str(own_port) in " ".join(arguments)
            assert healthy == (0 == result.returncode), result.stderr


def test_compose_mounts_only_what_is_there() -> None:
    """Every file and folder exists in this repository, read-only; every named volume is declared."""
    for service in SERVICES:
        for outside, inside in mounts(service):
            assert outside in COMPOSE["volumes"] or (COMPOSE_FILE.parent / outside).exists(), inside
        own = [volume for volume in SERVICES[service].get("volumes", []) if volume[0] == "."]
        assert [":ro"] * len(own) == [volume[-3:] for volume in own]


@pytest.mark.parametrize("service", PORTS)
def test_compose_publishes_on_loopback_only(service: str) -> None:
    """Each service publishes its documented port, and no stranger reaches it."""
    assert [f"127.0.0.1:{PORTS[service]}:{PORTS[service]}"] == SERVICES[service]["ports"]


@pytest.mark.parametrize("daemon", ["agent", "aggregator"])
def test_daemons_read_the_mounted_configuration(daemon: str) -> None:
    """The command names the file that is mounted, from an image built by our Dockerfile."""
    command = SERVICES[daemon]["command"]
    build = SERVICES[daemon]["build"]

    assert [daemon, "--config", f"/etc/perwatt/{daemon}.yaml"] == command
    assert command[-1] in mounted_files(daemon)
    assert (COMPOSE_FILE.parent / build["context"]).resolve() == ROOT
    assert ROOT / build["dockerfile"] == DOCKERFILE
    assert SERVICES[daemon]["read_only"] is True


def test_agent_state_survives_a_restart() -> None:
    """The folder that the agent remembers in is a volume."""
    assert ("agent-state", "/run/perwatt") in mounts("agent")
    assert ("agent-data", "/var/lib/perwatt") in mounts("agent")
    assert ("aggregator-data", "/var/lib/perwatt") in mounts("aggregator")


def test_grafana_finds_its_data_source_and_dashboard() -> None:
    """The provisioned source is the compose service; the provider's folder holds the generated dashboard."""
    files = mounted_files("grafana")
    [source] = yaml.safe_load(
        (files["/etc/grafana/provisioning/datasources"] / "prometheus.yaml").read_text()
    )["datasources"]
    [provider] = yaml.safe_load((files["/etc/grafana/provisioning/dashboards"] / "perwatt.yaml").read_text())[
        "providers"
    ]
    home = SERVICES["grafana"]["environment"]["GF_DASHBOARDS_DEFAULT_HOME_DASHBOARD_PATH"]

    assert ("prometheus", "http://prometheus:9090") == (source["type"], source["url"])
    assert f"{provider['options']['path']}/perwatt.json" == home
    assert (ROOT / "dashboards" / "grafana" / "perwatt.json").resolve() == files[home].resolve()


def test_prometheus_sees_configuration_and_rules() -> None:
    """The rules lie where the mounted configuration looks for them."""
    files = mounted_files("prometheus")
    config = yaml.safe_load(files["/etc/prometheus/prometheus.yml"].read_text())

    assert ["rules/*.yaml"] == config["rule_files"]
    assert ROOT / "dashboards" / "prometheus" / "rules" == files["/etc/prometheus/rules"].resolve()
