"""What an operator says of a meter: where it is, how it is asked, and what its number means."""

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Annotated, Literal

from msgspec import Struct

from perwatt_agent.configfile.loading import Sound
from perwatt_agent.configfile.settings import Key, join, settings_of
from perwatt_agent.configfile.values import (
    BOOLEAN,
    PATH,
    READABLE_FILE,
    TEXT,
    URL,
    Kind,
    duration,
    matching,
    number,
    one_of,
)
from perwatt_agent.meters.credentials import basic, bearer
from perwatt_agent.meters.jsonpath import steps_of
from perwatt_agent.meters.quantity import UNITS, MeterUnit
from perwatt_agent.meters.redfishdocs import path_and_member

MeterKind = Literal["ipmi", "redfish", "prometheus", "json", "csv"]
ConfiguredScope = Literal["node", "sensor"]
ConfiguredSource = Literal["ipmi", "redfish", "pdu", "prometheus", "json", "csv"]
"""What the `source` label can say of a configured meter."""


def _secret(header: Callable[[Path], str]) -> Kind:
    """A file of which *header* can be made now, as it must be for each request."""

    def read(text: str) -> Path:
        path = Path(text)
        header(path)
        return path

    return Kind(read)


METER_KIND = one_of("ipmi", "redfish", "prometheus", "json", "csv")
METER_UNIT = one_of(*UNITS)
METER_SCOPE = one_of("node", "sensor")
METER_SOURCE = one_of("ipmi", "redfish", "pdu", "prometheus", "json", "csv")
METER_NAME = matching(r"[a-z][a-z0-9._-]{0,39}", "a name of small letters, digits, dots, - and _")
INTERVAL = duration(1.0, 3600.0)
CREDENTIALS_FILE = _secret(basic)
TOKEN_FILE = _secret(bearer)


class PlaceConfig(Struct, frozen=True, kw_only=True):
    """Where a number is had that somebody else measured or knows."""

    kind: Annotated[
        MeterKind, Key("kind of meter: `ipmi`, `redfish`, `prometheus`, `json` or `csv`", METER_KIND)
    ]
    url: Annotated[
        str | None, Key("address of the BMC, the Prometheus server, or the JSON document", URL)
    ] = None
    query: Annotated[str | None, Key("PromQL expression with one series as its result", TEXT)] = None
    path: Annotated[
        str | None,
        Key("place of the value: `a.b[0].c` in JSON, a column of CSV, a Redfish chassis or member", TEXT),
    ] = None
    file: Annotated[Path | None, Key("CSV file to which rows are appended", PATH)] = None
    time_column: Annotated[str, Key("CSV column with the time of each row", TEXT)] = "t_unix_s"
    interval: Annotated[
        float | None, Key("how often to read it; the default depends on the kind", INTERVAL)
    ] = None
    credentials_file: Annotated[
        Path | None,
        Key("file with `username:` and `password:`, or one line `USER:PASSWORD`", CREDENTIALS_FILE),
    ] = None
    bearer_token_file: Annotated[Path | None, Key("file with the service's bearer token", TOKEN_FILE)] = None
    ca_file: Annotated[
        Path | None, Key("file with the CA of its certificate; default: the system's", READABLE_FILE)
    ] = None


class MeterConfig(PlaceConfig, frozen=True, kw_only=True):
    """One meter, and what its number means. Units, factors and scopes are applied once, when it is read."""

    name: Annotated[
        str | None, Key("name of the meter in metrics and messages; default: its kind", METER_NAME)
    ] = None
    source: Annotated[
        ConfiguredSource | None,
        Key("value of the `source` label, such as `pdu`; default: its kind", METER_SOURCE),
    ] = None
    scope: Annotated[
        ConfiguredScope,
        Key("`node`: the whole node at the wall (AC); `sensor`: a part, shown but not added", METER_SCOPE),
    ] = "node"
    unit: Annotated[
        MeterUnit | None,
        Key(
            "unit: `watts`, `kilowatts`, or for a counter `joules`, `watt_hours`, `kilowatt_hours`",
            METER_UNIT,
        ),
    ] = None
    factor: Annotated[
        float, Key("factor by which to multiply the number before its unit applies", number(1e-9, 1e9))
    ] = 1.0

    @property
    def label(self) -> str:
        """The name by which its health is shown."""
        return self.name or self.kind


class ModelConfig(Struct, frozen=True):
    """What is assumed of a node that no meter at the wall measures."""

    rest_watts: Annotated[
        float,
        Key("power of all but GPUs, CPUs and memory: fans, drives, mainboard, network", number(0.0, 1e5)),
    ]
    # Nodes of 8 GPUs in MLPerf Training v4.0, metered on both sides of their supplies: 0.967 to 0.973.
    psu_efficiency: Annotated[
        float, Key("efficiency of the power supplies: power out / power in", number(0.5, 1.0))
    ] = 0.97


class MetersConfig(Struct, frozen=True):
    """The meters around the GPUs."""

    discover: Annotated[
        bool, Key("whether to find the meters of this machine: RAPL, hwmon, IPMI", BOOLEAN)
    ] = True
    model: ModelConfig | None = None
    list: Annotated[tuple[MeterConfig, ...], Key("more meters of this node", flag="meter")] = ()


class _Use(Struct, frozen=True):
    """Which keys a kind cannot do without, and which others mean something to it."""

    needs: tuple[str, ...] = ()
    takes: tuple[str, ...] = ()


_SERVICE = ("credentials_file", "bearer_token_file", "ca_file")
_USES: Mapping[str, _Use] = {
    "ipmi": _Use(),
    "redfish": _Use(("url",), ("path", "credentials_file", "ca_file")),
    "prometheus": _Use(("url", "query"), _SERVICE),
    "json": _Use(("url", "path"), _SERVICE),
    "csv": _Use(("file",), ("path", "time_column")),
}
_NOT_OF_ALL = ("url", "query", "path", "file", "time_column", *_SERVICE)
_FORMS_OF_PATHS: Mapping[str, Callable[[str], object]] = {"json": steps_of, "redfish": path_and_member}
_SAYS_ITS_UNIT = ("ipmi", "redfish")
_SAYS_NO_UNIT = ("prometheus", "json")


def check_place(config: PlaceConfig, path: str, sound: Sound) -> Iterator[tuple[str, str]]:
    """What must hold between the keys of one place, at *path* of its file."""
    use = _USES[config.kind]
    for setting in settings_of(PlaceConfig):
        where = join(path, setting.name)
        given = getattr(config, setting.name) != setting.default
        if setting.name in use.needs and not given and sound(where):
            yield where, f"expected, but it is missing: kind {config.kind} cannot do without it"
        elif given and setting.name in _NOT_OF_ALL and setting.name not in use.needs + use.takes:
            yield where, f"expected nothing, for it has no meaning where kind is {config.kind}"
    yield from _check_service(config, path)
    form = _FORMS_OF_PATHS.get(config.kind)
    try:
        if form is not None and config.path is not None:
            form(config.path)
    except ValueError as error:
        yield join(path, "path"), f"expected {error}, not {config.path!r}"


def _check_service(config: PlaceConfig, path: str) -> Iterator[tuple[str, str]]:
    """Secrets and certificates go with TLS, and nobody has two names at once."""
    secure = config.url is None or config.url.startswith("https://")
    if config.kind == "redfish" and not secure:
        yield join(path, "url"), "expected an https:// URL, for Redfish is read over verified TLS alone"
    elif config.ca_file and not secure:
        yield join(path, "ca_file"), "expected nothing, for the URL is no https:// URL"
    if config.credentials_file and config.bearer_token_file:
        yield join(path, "bearer_token_file"), "expected nothing beside credentials_file"


def check_meter(config: MeterConfig, path: str, sound: Sound) -> Iterator[tuple[str, str]]:
    """What must hold between the keys of one meter, at *path* of its file."""
    yield from check_place(config, path, sound)
    where = join(path, "unit")
    if config.kind in _SAYS_ITS_UNIT and config.unit is not None:
        yield where, f"expected nothing, for a meter of kind {config.kind} says its unit itself"
    if config.kind in _SAYS_NO_UNIT and config.unit is None and sound(where):
        yield where, "expected watts, kilowatts, joules, watt_hours or kilowatt_hours, which no number says"


def check_meters(config: MetersConfig, sound: Sound, path: str = "meters") -> Iterator[tuple[str, str]]:
    """What must hold between the meters of one agent."""
    labels: set[str] = set()
    for index, meter in enumerate(config.list):
        where = f"{path}.list[{index}]"
        yield from check_meter(meter, where, sound)
        if meter.label in labels:
            yield join(where, "name"), f"expected an unused name; {meter.label!r} is taken"
        labels.add(meter.label)
