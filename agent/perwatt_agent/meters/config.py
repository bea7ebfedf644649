"""Configuration of meters: where a number is read, and what it means."""

from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Literal

from msgspec import Struct

from perwatt_agent.configfile.settings import Key
from perwatt_agent.configfile.value_kinds import (
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
from perwatt_agent.meters.reading.credentials import basic, bearer
from perwatt_agent.meters.reading.quantity import UNITS, MeterUnit

ConfiguredScope = Literal["node", "sensor"]

SERVICE_KEYS = ("credentials_file", "bearer_token_file", "ca_file")
"""Keys of any HTTP service."""


def _secret(header: Callable[[Path], str]) -> Kind:
    """A file from which *header* makes an Authorization header now, as it will for each request."""

    def read(text: str) -> Path:
        path = Path(text)
        header(path)
        return path

    return Kind(read)


METER_UNIT = one_of(*UNITS)
METER_SCOPE = one_of("node", "sensor")
METER_NAME = matching(r"[a-z][a-z0-9._-]{0,39}", "a name of small letters, digits, dots, - and _")
INTERVAL = duration(1.0, 3600.0)
CREDENTIALS_FILE = _secret(basic)
TOKEN_FILE = _secret(bearer)


class PlaceConfig(Struct, frozen=True, kw_only=True):
    """Where to read a number that somebody else measured or keeps."""

    kind: Annotated[str, Key("kind of meter; docs/meters.md lists them", TEXT)]
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
    """One meter, and what its number means. Unit, factor and scope apply once, when the number is read."""

    name: Annotated[
        str | None, Key("name of the meter in metrics and messages; default: its kind", METER_NAME)
    ] = None
    source: Annotated[
        str | None, Key("value of the `source` label, such as `pdu`; default: its kind", TEXT)
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
    """Assumptions about a node without a wall meter."""

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

    discover: Annotated[bool, Key("whether to find the meters of this machine", BOOLEAN)] = True
    model: ModelConfig | None = None
    list: Annotated[tuple[MeterConfig, ...], Key("more meters of this node", flag="meter")] = ()
