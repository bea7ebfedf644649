"""Simulated node: who it is, and every number on its agent's page at any instant."""

import math
from random import Random

from msgspec import Struct

from perwatt.simulate.agent_events import event_counts
from perwatt.simulate.catalog import BOARD, MODELS, SITES, ServedModel, Site
from perwatt.simulate.depth import deep_numbers
from perwatt.simulate.events import FleetEvent
from perwatt.simulate.history import NodeHistory, Stretch
from perwatt.simulate.latency import LATENCIES
from perwatt.simulate.layout import GpuOccupancy, Layout, ShownWorkload, numbers_of_requests, shown_workloads
from perwatt.simulate.load import DayLoad
from perwatt.simulate.plan import FleetPlan
from perwatt.simulate.slot import Slot, Totals
from perwatt_agent.facts.gpu_reading import Detail

METER_PERIOD_SECONDS = 10.0
CPU_WATTS = (148.0, 141.0)
DRAM_WATTS = (22.0, 21.0)
PSU_EFFICIENCY = 0.94
MAX_RUNNING = 96.0
_AMBIENT_CELSIUS = 27.0
_CELSIUS_PER_WATT = 0.055


class NodeIdentity(Struct, frozen=True):
    """What never changes of a node. `clock_offset_seconds` is by how much its clock is ahead."""

    number: int
    name: str
    agent: str
    rack: str
    cluster: str
    site: Site
    clock_offset_seconds: float
    tick_phase: float
    host_watts: float
    has_meter: bool
    power_factors: tuple[float, ...]
    detail: Detail = "core"


class Node:
    """One node of a fleet."""

    def __init__(self, identity: NodeIdentity, history: NodeHistory) -> None:
        self.identity = identity
        self.history = history

    def instant(self, unix_seconds: float) -> float:
        """When the agent took the snapshot that it shows at *unix_seconds*: it takes one a second."""
        phase = self.identity.tick_phase
        tick = math.floor(unix_seconds - phase) + phase
        return max(tick, self.history.stretch(unix_seconds).begin)

    def board_joules(self, unix_seconds: float) -> float:
        """Joules of all boards since the fleet's start."""
        return sum(
            slot.totals(unix_seconds).board * sum(self.identity.power_factors[gpu] for gpu in slot.gpus)
            for slot in self.history.slots
        )

    def node_joules(self, board_joules: float, seconds: float) -> float:
        """Joules of the node at the wall, of which the boards take so many in so many seconds."""
        return (board_joules + self.identity.host_watts * seconds) / PSU_EFFICIENCY

    def agent_events(self, unix_seconds: float) -> list[FleetEvent]:
        """What happened since the agent started."""
        start = self.history.stretch(unix_seconds).agent_start
        return self.history.events_between(start, unix_seconds)

    def page(self, unix_seconds: float) -> tuple[Layout, list[float]]:
        """The layout of the agent's page, and its numbers in the order in which `snapshot` takes them."""
        stretch = self.history.stretch(unix_seconds)
        instant = self.instant(unix_seconds)
        numbers = [instant + self.identity.clock_offset_seconds, instant - stretch.agent_start]
        occupancies: list[GpuOccupancy] = ["lost_before"] * len(self.identity.power_factors)
        shown: list[ShownWorkload] = []
        by_gpu: dict[int, list[float]] = {}
        uptime = instant - stretch.boot_unix_seconds
        board_watts = 0.0
        for slot, at_boot in zip(self.history.slots, stretch.at_boot, strict=True):
            segment = slot.segment(instant)
            totals = slot.totals_in(segment, instant)
            watts, busy = slot.watts(instant)
            shown += shown_workloads(slot, segment, instant, stretch.boot_unix_seconds)
            for gpu in slot.gpus:
                factor = self.identity.power_factors[gpu]
                board_watts += watts * factor
                if stretch.lost.get(gpu, 0.0) > stretch.agent_start:
                    occupancies[gpu] = "lost"
                    by_gpu[gpu] = [stretch.lost[gpu] + self.identity.clock_offset_seconds]
                elif gpu not in stretch.lost:
                    occupancies[gpu] = segment.state
                    by_gpu[gpu] = _gpu_numbers(factor, watts, busy, totals, at_boot, uptime)
                    if self.identity.detail == "full":
                        busy_seconds = totals.busy_seconds - at_boot.busy_seconds
                        by_gpu[gpu] += deep_numbers(busy, busy_seconds, uptime)
        for gpu in sorted(by_gpu):
            numbers += by_gpu[gpu]
        for one in shown:
            numbers += self._workload_numbers(one)
        numbers += self._host_numbers(stretch, instant, board_watts)
        numbers += event_counts(self.agent_events(unix_seconds))
        layout = Layout(
            stretch.agent_start,
            tuple(occupancies),
            tuple(one.layout for one in shown),
        )
        return layout, numbers

    def _workload_numbers(self, shown: ShownWorkload) -> list[float]:
        layout, slot = shown.layout, shown.slot
        life = layout.life
        totals = slot.totals(shown.joules_at)
        numbers = []
        if layout.is_counted:
            tokens = slot.totals(shown.tokens_at).tokens - shown.tokens_before
            level = slot.level(shown.tokens_at) if layout.is_up else 0.0
            numbers = _counts(life.model, tokens, level)
        active, idle = totals.active - life.at_begin.active, totals.idle - life.at_begin.idle
        loading = totals.loading - life.at_begin.loading
        for gpu in layout.gpus:
            factor = self.identity.power_factors[gpu]
            numbers += (active * factor, idle * factor, loading * factor)
        numbers.append(shown.joules_at - life.begin)
        return numbers

    def _host_numbers(self, stretch: Stretch, instant: float, board_watts: float) -> list[float]:
        uptime = instant - stretch.boot_unix_seconds
        numbers = [watts * uptime for watts in (*CPU_WATTS, *DRAM_WATTS)]
        if self.identity.has_meter:
            read_at = max(stretch.boot_unix_seconds, instant - instant % METER_PERIOD_SECONDS)
            seconds = read_at - stretch.boot_unix_seconds
            board = sum(
                (slot.totals(read_at).board - at_boot.board)
                * sum(self.identity.power_factors[gpu] for gpu in slot.gpus)
                for slot, at_boot in zip(self.history.slots, stretch.at_boot, strict=True)
            )
            numbers += (self.node_joules(board, seconds), seconds, self.node_joules(board_watts, 1.0))
        return numbers


def _gpu_numbers(
    factor: float, watts: float, busy: float, totals: Totals, at_boot: Totals, uptime: float
) -> list[float]:
    core = float(round(_AMBIENT_CELSIUS + _CELSIUS_PER_WATT * watts * factor))
    return [
        round(watts * factor, 3),
        round(busy, 2),
        core,
        core + 8.0,
        round((totals.board - at_boot.board) * factor, 3),
        uptime,
        totals.busy_seconds - at_boot.busy_seconds,
        (totals.unallocated - at_boot.unallocated) * factor,
    ]


def _counts(model: ServedModel, tokens: float, level: float) -> list[float]:
    """An engine's counts, in the order in which `snapshot` takes them; whole numbers, as engines count."""
    well, aborted = numbers_of_requests(model, tokens)
    prompt = (well + aborted) * model.prompt_tokens_per_request
    wasted = float(int(tokens * model.aborted_ratio))
    cached = float(int(prompt * model.cached_ratio))
    numbers = [
        float(int(tokens)),
        float(int(prompt)) - cached,
        cached,
        float(int(tokens)) - wasted,
        float(int(well)),
        float(int(aborted)),
        float(math.ceil(level * MAX_RUNNING)),
        round(0.9 * level, 4),
        wasted,
    ]
    for latency in LATENCIES:
        observations = tokens if latency.is_each_token else well + aborted
        numbers += [float(int(observations * share)) for share in latency.shares]
        numbers += (float(int(observations)), observations * latency.mean_seconds)
    return numbers


def make_identity(plan: FleetPlan, number: int) -> NodeIdentity:
    """The identity of a node of a plan."""
    random = Random(f"{plan.seed}/{number}/identity")
    sites = SITES[: max(1, plan.facilities)]
    rack = number // plan.nodes_a_rack
    site = sites[rack % len(sites)]
    offset = random.choice((-1.0, 1.0)) * random.uniform(6.0, 120.0)
    is_skewed = random.random() < plan.skewed_share
    return NodeIdentity(
        number,
        f"sim-{number:04d}",
        f"{random.getrandbits(128):032x}",
        f"rack-{rack:03d}",
        f"{site.facility}-{rack // len(sites) // 4}",
        site,
        offset if is_skewed else random.gauss(0.0, 0.01) if plan.skewed_share else 0.0,
        random.random(),
        random.uniform(650.0, 950.0) + sum(CPU_WATTS) + sum(DRAM_WATTS),
        random.random() < plan.node_meter_share,
        tuple(round(random.gauss(1.0, 0.02), 4) for _ in range(plan.gpus)),
        plan.detail,
    )


def make_slots(plan: FleetPlan, identity: NodeIdentity, loads: dict[tuple[str, str], DayLoad]) -> list[Slot]:
    """The slots of a node: replicas of models that fit, and GPUs that nobody uses."""
    random = Random(f"{plan.seed}/{identity.number}/slots")
    slots: list[Slot] = []
    free = list(range(plan.gpus))
    while free:
        fitting = [model for model in MODELS if model.gpus <= len(free)]
        model = random.choices(fitting, [one.weight for one in fitting])[0]
        # A node has mostly replicas of one model, as an operator would deploy them.
        count = max(1, len(free) // model.gpus - random.randrange(2))
        for _ in range(count):
            gpus, free = tuple(free[: model.gpus]), free[model.gpus :]
            used = None if random.random() < plan.idle_share else model
            scale, phase = random.uniform(0.75, 1.0), random.uniform(0.0, plan.engine_read_seconds)
            load = loads[model.name, identity.site.facility]
            slots.append(Slot(gpus, used, BOARD, load, scale, phase, plan.engine_read_seconds))
    return slots
