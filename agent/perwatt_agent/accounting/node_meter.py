"""Node meter: the one meter that stands for the whole node at the wall, and its joules by source."""

from collections.abc import Sequence

from msgspec import Struct

from perwatt_agent.accounting.integrator import Increment
from perwatt_agent.accounting.meter_account import MeterAccount
from perwatt_agent.facts.host_meter import NodeMeterSnapshot
from perwatt_agent.meters.catalog import rank_of

# A meter of a better rank takes over only after this time of good readings, and after a restart of the agent
# the previous meter has this time to return: every change of source disturbs the windows around it.
PROBATION_SECONDS = 60.0
RETURN_SECONDS = 30.0


class NodeEnergyState(Struct, frozen=True):
    """Joules and covered seconds while a source was the node meter."""

    joules: float = 0.0
    covered_seconds: float = 0.0


class NodeMeterState(Struct, frozen=True):
    """Node meter that survives a restart: the chosen meter, since when, and the energy of each source."""

    meter: str = ""
    since: float = 0.0
    sources: dict[str, NodeEnergyState] = {}


class NodeMeter:
    """
    Joules of the node by source; one source counts at a time.

    A source that takes over starts at its own baseline: its series contains nothing that it measured before,
    and nothing that another source measured.
    """

    def __init__(self, state: NodeMeterState | None = None) -> None:
        state = state or NodeMeterState()
        self._meter = state.meter
        self._since = state.since
        self._sources = dict(state.sources)
        self._waits_for_previous = bool(state.meter)
        self._started: float | None = None

    @property
    def state(self) -> NodeMeterState:
        return NodeMeterState(self._meter, self._since, dict(self._sources))

    def add(self, account: MeterAccount, increment: Increment) -> None:
        """Book an increment, if its meter is the chosen one and was from the increment's beginning."""
        began = account.good_at - increment.seconds
        if account.label != self._meter or not increment.seconds or began < self._since - 1e-6:
            return
        before = self._sources.get(account.source, NodeEnergyState())
        self._sources[account.source] = NodeEnergyState(
            before.joules + increment.joules, before.covered_seconds + increment.seconds
        )

    def choose(self, monotonic_seconds: float, accounts: Sequence[MeterAccount]) -> MeterAccount | None:
        """Choose one of the *accounts* that have a good reading, and return it; None while there is none."""
        self._started = monotonic_seconds if self._started is None else self._started
        current = next((account for account in accounts if account.label == self._meter), None)
        best = min(accounts, key=_rank, default=None)
        if best is None or (
            current is None and self._waits_for_previous and self._is_starting(monotonic_seconds)
        ):
            return None
        self._waits_for_previous = False
        if current is not None and (
            _rank(best) >= _rank(current) or monotonic_seconds - best.good_since < PROBATION_SECONDS
        ):
            return current
        self._meter, self._since = best.label, best.good_at
        return best

    def snapshot(self, account: MeterAccount) -> NodeMeterSnapshot:
        energy = self._sources.get(account.source, NodeEnergyState())
        return NodeMeterSnapshot(account.source, energy.joules, energy.covered_seconds, account.watts)

    def _is_starting(self, monotonic_seconds: float) -> bool:
        assert self._started is not None
        return monotonic_seconds - self._started < RETURN_SECONDS


def _rank(account: MeterAccount) -> tuple[int, str]:
    return rank_of(account.source), account.label
