"""Configuration of targets: agents, and the sources that discover them. The annotations are its reference."""

import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Literal

from msgspec import Struct

from perwatt_agent.configfile.loading import IsValid
from perwatt_agent.configfile.settings import Key
from perwatt_agent.configfile.value_kinds import READABLE_FILE, TEXT, URL, Kind, duration, matching, one_of
from perwatt_agent.meters.config import TOKEN_FILE
from perwatt_agent.net.page_identity import page_identity

LABEL_NAME = matching(r"[a-zA-Z_][a-zA-Z0-9_]{0,63}", "a label name of letters, digits and _")
_PORT = matching(
    r"[1-9]\d{0,3}|[1-5]\d{4}|6[0-4]\d{3}|65[0-4]\d\d|655[0-2]\d|6553[0-5]", "a port from 1 to 65535"
)
_REFRESH = duration(1.0, 86400.0)


def _read_password_file(text: str) -> Path:
    if not text:
        raise ValueError("a file with the password")
    path: Path = TOKEN_FILE.read(text)
    return path


_PASSWORD_FILE = Kind(_read_password_file)


class BasicAuthConfig(Struct, frozen=True, kw_only=True):
    """User and password of HTTP basic authentication, from files where they are secret."""

    username: Annotated[str | None, Key("user name", TEXT)] = None
    username_file: Annotated[Path | None, Key("file with the user name", READABLE_FILE)] = None
    password_file: Annotated[Path, Key("file with the password, not readable by everybody", _PASSWORD_FILE)]


class AccessConfig(Struct, frozen=True, kw_only=True):
    """How to reach a page: whom to trust, and with which credentials. Files are read again as they change."""

    ca_file: Annotated[
        Path | None, Key("file with the CA of the certificates; default: the system's", READABLE_FILE)
    ] = None
    cert_file: Annotated[Path | None, Key("client certificate, in PEM format", READABLE_FILE)] = None
    key_file: Annotated[Path | None, Key("key of the client certificate", READABLE_FILE)] = None
    bearer_token_file: Annotated[
        Path | None, Key("file with the bearer token, not readable by everybody", TOKEN_FILE)
    ] = None
    basic_auth: BasicAuthConfig | None = None

    @property
    def has_secret(self) -> bool:
        return self.bearer_token_file is not None or self.basic_auth is not None


class GroupConfig(AccessConfig, frozen=True, kw_only=True):
    """Targets with common labels and a common access."""

    labels: Annotated[dict[str, str], Key("labels of the node, such as `rack: r1`", TEXT)] = {}


def access_of(config: AccessConfig) -> AccessConfig:
    """The access alone, of a group that has more keys."""
    return AccessConfig(**{name: getattr(config, name) for name in AccessConfig.__struct_fields__})


class AgentTargetConfig(GroupConfig, frozen=True):
    """One agent."""

    url: Annotated[str, Key("its `/metrics` page", URL)]


class FileSdConfig(GroupConfig, frozen=True):
    """Files with lists of targets, in the format of Prometheus's `file_sd_configs`."""

    files: Annotated[str, Key("path or pattern, such as `/etc/perwatt/targets/*.yaml`; JSON and YAML", TEXT)]


class HttpSdConfig(GroupConfig, frozen=True):
    """A URL that answers with a list of targets, as Prometheus's `http_sd_configs`."""

    url: Annotated[str, Key("URL that answers with a JSON list of targets", URL)]
    refresh_interval: Annotated[float, Key("how often to ask", _REFRESH)] = 60.0
    server: Annotated[
        AccessConfig, Key("access to the URL itself; the other keys are for the targets that it names")
    ] = AccessConfig()


class DnsSdConfig(GroupConfig, frozen=True):
    """A host name with one address for each target."""

    name: Annotated[str, Key("host name to look up", TEXT)]
    port: Annotated[str, Key("port of the agents", _PORT)] = "9836"
    type: Annotated[
        Literal["any", "A", "AAAA"],
        Key("addresses to use: `A`, `AAAA`, or `any`", one_of("any", "A", "AAAA")),
    ] = "any"
    scheme: Annotated[Literal["http", "https"], Key("`http` or `https`", one_of("http", "https"))] = "http"
    refresh_interval: Annotated[float, Key("how often to look it up", _REFRESH)] = 30.0


SELECTOR = r"""\{\s*(?:(?!__name__)MATCHER(?:\s*,\s*(?!__name__)MATCHER)*\s*,?)?\s*\}""".replace(
    "MATCHER", r"""[a-zA-Z_][a-zA-Z0-9_]*\s*(?:=~|!~|!=|=)\s*"(?:[^"\\\n]|\\.)*\""""
)
"""A series selector of PromQL without a metric name; strings in double quotes."""
_HEADER = matching(r"[!-~]([ -~]*[!-~])?", "a text of printable ASCII characters")


class PrometheusConfig(AccessConfig, frozen=True, kw_only=True):
    """A server with the HTTP API of Prometheus, which scrapes the agents."""

    url: Annotated[
        str, Key("the server, with the prefix of its API if it has one: `http://mimir:8080/prometheus`", URL)
    ]
    selector: Annotated[
        str,
        Key(
            "selects the series of the agents and nothing else, by labels of their targets",
            matching(SELECTOR, 'a selector by labels alone, such as {job="perwatt-agent"}'),
        ),
    ] = '{job="perwatt-agent"}'
    headers: Annotated[
        dict[str, str],
        Key("headers of each request, such as `X-Scope-OrgID: gpus`", _HEADER, "prometheus-header"),
    ] = {}
    timeout: Annotated[
        float, Key("time for all queries of one answer; then it is refused", duration(1.0, 120.0))
    ] = 10.0


THIS_MACHINE = (AgentTargetConfig("http://127.0.0.1:9836/metrics"),)


class SourcesConfig(Struct, frozen=True):
    """The agents that the aggregator scrapes, and where it finds more of them."""

    agents: Annotated[
        tuple[AgentTargetConfig, ...],
        Key("`/metrics` page of each agent: its URL, or a section with `url` and more", URL, "agent", "url"),
    ] = THIS_MACHINE
    file_sd: Annotated[
        tuple[FileSdConfig, ...],
        Key(
            "files with lists of agents: a path or pattern, or a section with `files` and more",
            TEXT,
            "",
            "files",
        ),
    ] = ()
    http_sd: Annotated[
        tuple[HttpSdConfig, ...],
        Key("URLs that answer with lists of agents: a URL, or a section with `url` and more", URL, "", "url"),
    ] = ()
    dns_sd: Annotated[
        tuple[DnsSdConfig, ...],
        Key("host names of agents: a name, or a section with `name`, `port` and more", TEXT, "", "name"),
    ] = ()
    prometheus: Annotated[
        PrometheusConfig | None,
        Key("in place of agents: a server that scrapes them, with the HTTP API of Prometheus"),
    ] = None

    @property
    def discovers(self) -> bool:
        """Whether nodes are named elsewhere."""
        return bool(self.file_sd or self.http_sd or self.dns_sd or self.prometheus)

    @property
    def named_agents(self) -> tuple[AgentTargetConfig, ...]:
        """The agents in `agents`; the default, this machine's agent, is left out beside another source."""
        return () if self.agents is THIS_MACHINE and self.discovers else self.agents

    def groups(self) -> Iterator[tuple[str, GroupConfig]]:
        """Every group of targets with its path in the file."""
        sections: Mapping[str, Sequence[GroupConfig]] = {
            "agents": self.named_agents,
            "file_sd": self.file_sd,
            "http_sd": self.http_sd,
            "dns_sd": self.dns_sd,
        }
        for name, configs in sections.items():
            for index, config in enumerate(configs):
                yield f"sources.{name}[{index}]", config


def agents_at(*urls: str) -> SourcesConfig:
    """Sources with these agents alone."""
    return SourcesConfig(tuple(map(AgentTargetConfig, urls)))


def check_sources(sources: SourcesConfig, is_valid: IsValid) -> Iterator[tuple[str, str]]:
    """Errors between the keys of `sources`."""
    if not sources.agents and not sources.discovers and is_valid("sources"):
        yield "sources.agents", "expected at least one agent's URL, or file_sd, http_sd or dns_sd"
    if is_valid("sources.agents"):
        yield from _check_pages([agent.url for agent in sources.agents])
    for where, group in sources.groups():
        yield from _check_access(group, where)
        for label in group.labels:
            if not re.fullmatch("[a-zA-Z_][a-zA-Z0-9_]*", label) or label.startswith("__"):
                yield f"{where}.labels.{label}", "expected a label name of letters, digits and _"
    for index, config in enumerate(sources.http_sd):
        yield from _check_access(config.server, f"sources.http_sd[{index}].server")
    if sources.prometheus is not None:
        yield from _check_prometheus(sources, sources.prometheus)


def _check_prometheus(sources: SourcesConfig, config: PrometheusConfig) -> Iterator[tuple[str, str]]:
    """Readings come from one kind of source, so that nothing counts twice."""
    if any((sources.named_agents, sources.file_sd, sources.http_sd, sources.dns_sd)):
        yield "sources.prometheus", "expected no value together with agents, file_sd, http_sd or dns_sd"
    yield from _check_access(config, "sources.prometheus")
    for name in config.headers:
        if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_-]*", name):
            yield (
                f"sources.prometheus.headers.{name}",
                "expected a header's name: letters, digits, - and _",
            )


def _check_pages(urls: Sequence[str]) -> Iterator[tuple[str, str]]:
    """No agent's page is there twice, however its URL is spelt."""
    pages = [page_identity(url) for url in urls]
    for index, page in enumerate(pages):
        if page in pages[:index]:
            yield (
                f"sources.agents[{index}]",
                f"expected each agent only once, but sources.agents[{pages.index(page)}] is this page too; "
                "its joules would count twice",
            )


def _check_access(access: AccessConfig, where: str) -> Iterator[tuple[str, str]]:
    if access.key_file is not None and access.cert_file is None:
        yield f"{where}.cert_file", "expected the certificate of `key_file`, but it is missing"
    if access.bearer_token_file is not None and access.basic_auth is not None:
        yield f"{where}.basic_auth", "expected no value together with `bearer_token_file`"
    basic = access.basic_auth
    if basic is not None and (basic.username is None) == (basic.username_file is None):
        yield f"{where}.basic_auth.username", "expected either `username` or `username_file`"
