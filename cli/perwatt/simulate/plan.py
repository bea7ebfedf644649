"""Plan of a simulated fleet: its size, its day, how often what happens."""

from msgspec import Struct

from perwatt.simulate.events import PlannedEvent, PlannedKind
from perwatt_agent.facts.gpu_reading import Detail

DAY_SECONDS = 86_400.0
START_UNIX_SECONDS = 1_800_000_000.0
SKEWED_SHARE = 0.02


class Rates(Struct, frozen=True):
    """How often something happens to a node in a day of the fleet, and the range of how long it lasts."""

    kind: PlannedKind
    a_day: float
    seconds: tuple[float, float]
    factor: tuple[float, float] = (1.0, 1.0)
    lasts_with_day: bool = False
    """Whether `seconds` are of a day of 24 hours, and shorter if the day is."""


NORMAL = (
    Rates("reboot", 0.02, (120.0, 300.0)),
    Rates("agent_restart", 0.05, (3.0, 30.0)),
    Rates("engine_restart", 0.1, (10.0, 60.0)),
    Rates("gpu_lost", 0.01, (3_600.0, 14_400.0), lasts_with_day=True),
    Rates("straggler", 0.1, (900.0, 7_200.0), (0.4, 0.8), lasts_with_day=True),
    Rates("pause", 0.2, (60.0, 900.0)),
    Rates("slow", 0.02, (60.0, 600.0), (0.5, 4.0)),
    Rates("frozen", 0.01, (60.0, 600.0)),
    Rates("unreachable", 0.02, (30.0, 600.0)),
)
FAULTS: dict[str, float] = {"none": 0.0, "normal": 1.0, "many": 20.0}
"""By what factor the normal rates are multiplied."""


class Rollout(Struct, frozen=True):
    """
    A rolling deployment: up to `workloads` workloads of one model are replaced one after another.

    The first begins at `begin` and the last at `end`, both as shares of a day; each day has another model.
    """

    workloads: int = 200
    begin: float = 10 / 24
    end: float = 11 / 24


class FleetPlan(Struct, frozen=True):
    """
    A fleet. Equal plans are equal fleets.

    `day_seconds` is how long a day of its load and its events takes. `events` come in addition to the random
    ones. `loading_seconds` is how long an engine loads before it serves. `detail` is
    the agents' `gpu.detail`.
    """

    nodes: int = 10
    gpus: int = 8
    seed: int = 1
    start_unix_seconds: float = START_UNIX_SECONDS
    day_seconds: float = DAY_SECONDS
    rates: tuple[Rates, ...] = NORMAL
    rates_factor: float = 1.0
    rollout: Rollout | None = Rollout()
    events: tuple[PlannedEvent, ...] = ()
    facilities: int = 3
    nodes_a_rack: int = 8
    idle_share: float = 0.05
    node_meter_share: float = 0.9
    skewed_share: float = SKEWED_SHARE
    loading_seconds: float = 45.0
    engine_read_seconds: float = 5.0
    detail: Detail = "core"


def steady_plan(nodes: int, gpus: int = 8, seed: int = 1, *events: PlannedEvent) -> FleetPlan:
    """A fleet to which only the given events happen, with a meter on every node and all clocks right."""
    return FleetPlan(
        nodes,
        gpus,
        seed,
        rates_factor=0.0,
        rollout=None,
        events=events,
        node_meter_share=1.0,
        skewed_share=0.0,
    )
