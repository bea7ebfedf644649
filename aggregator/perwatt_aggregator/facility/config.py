"""What an operator may say of the building around the nodes. The annotations are the reference."""

from fnmatch import fnmatchcase
from typing import Annotated, Literal

from msgspec import Struct

from perwatt_agent.configfile import Key
from perwatt_agent.configfile.kinds import TEXT, matching, number, one_of

CURRENCY = matching("[A-Z]{3}", "three letters of ISO 4217, such as USD")


class PueConfig(Struct, frozen=True):
    """Power usage effectiveness: facility joules per joule at the nodes."""

    ratio: Annotated[float, Key("facility joules / IT joules", number(1.0))]
    kind: Annotated[Literal["static"], Key("how it is known", one_of("static"))] = "static"


class NodeOverheadConfig(Struct, frozen=True):
    """An estimate of node joules from board joules, only where no node meter exists."""

    ratio: Annotated[float, Key("node joules / board joules", number(1.0))]


class PriceConfig(Struct, frozen=True):
    """What a kilowatt-hour costs."""

    currency: Annotated[str, Key("ISO 4217", CURRENCY)]
    per_kwh: Annotated[float, Key("price of a kilowatt-hour", number(0.0))]


class CarbonConfig(Struct, frozen=True):
    """What a kilowatt-hour emits."""

    grams_co2e_per_kwh: Annotated[float, Key("emissions of a kilowatt-hour", number(0.0))]
    kind: Annotated[
        Literal["average", "marginal"], Key("`average` or `marginal`", one_of("average", "marginal"))
    ] = "average"


class FacilityConfig(Struct, frozen=True):
    """The building around the nodes; what is not known of it is None."""

    name: Annotated[str, Key("the `facility` label", TEXT)] = "default"
    pue: PueConfig | None = None
    node_overhead: NodeOverheadConfig | None = None
    price: PriceConfig | None = None
    carbon: CarbonConfig | None = None
    nodes: Annotated[
        tuple[str, ...], Key("patterns of its nodes' names, `HOST:PORT` or `HOST`, such as `gpu-1*`", TEXT)
    ] = ("*",)

    def holds(self, node: str) -> bool:
        """Whether *node*, `HOST:PORT`, stands in this facility."""
        names = (node, node.rpartition(":")[0])
        return any(fnmatchcase(name, pattern) for name in names for pattern in self.nodes)
