"""Which meter speaks for the whole node at the wall, and the joules that it said so."""

from collections.abc import Sequence

from msgspec import Struct

from perwatt_agent.accounting.integrator import Increment
from perwatt_agent.accounting.meter_account import MeterAccount
from perwatt_agent.facts.host_meter import NodeMeterSnapshot
from perwatt_agent.meters.catalog import rank_of

# A better meter must prove itself before it takes over, and after a restart of the agent the meter from
# before is waited for: each change is one that every window over it has to tell of.
PROBATION_SECONDS = 60.0
RETURN_SECONDS = 30.0


class NodeEnergyState(Struct, frozen=True):
    """Joules and covered seconds while a source spoke for the node."""

    joules: float = 0.0
    covered_seconds: float = 0.0


class NodeMeterState(Struct, frozen=True):
    """What outlives a restart of the agent: who speaks since when, and the account of each source."""

    meter: str = ""
    since: float = 0.0
    sources: dict[str, NodeEnergyState] = {}


class NodeMeter:
    """
    Keep the node's joules by source, one source at a time.

    A source that takes over starts at its own baseline: what it measured before is not in its series, and
    what the other measured meanwhile is not either.
    """

    def __init__(self, state: NodeMeterState | None = None) -> None:
        state = state or NodeMeterState()
        self._meter = state.meter
        self._since = state.since
        self._sources = dict(state.sources)
        self._awaits_return = bool(state.meter)
        self._started: float | None = None

    @property
    def state(self) -> NodeMeterState:
        return NodeMeterState(self._meter, self._since, dict(self._sources))

    def add(self, account: MeterAccount, increment: Increment) -> None:
        """Book what a meter has just measured, if it speaks for the node and did from its beginning."""
        began = account.good_at - increment.seconds
        if account.label != self._meter or not increment.seconds or began < self._since - 1e-6:
            return
        before = self._sources.get(account.source, NodeEnergyState())
        self._sources[account.source] = NodeEnergyState(
            before.joules + increment.joules, before.covered_seconds + increment.seconds
        )

    def choose(self, monotonic_seconds: float, accounts: Sequence[MeterAccount]) -> MeterAccount | None:
        """Whichever of the *accounts* with a good reading speaks from now on."""
        self._started = monotonic_seconds if self._started is None else self._started
        current = next((account for account in accounts if account.label == self._meter), None)
        best = min(accounts, key=_rank, default=None)
        if best is None or (current is None and self._awaits_return and self._is_early(monotonic_seconds)):
            return None
        self._awaits_return = False
        if current is not None and (
            _rank(best) >= _rank(current) or monotonic_seconds - best.good_since < PROBATION_SECONDS
        ):
            return current
        self._meter, self._since = best.label, best.good_at
        return best

    def snapshot(self, account: MeterAccount) -> NodeMeterSnapshot:
        energy = self._sources.get(account.source, NodeEnergyState())
        return NodeMeterSnapshot(account.source, energy.joules, energy.covered_seconds, account.watts)

    def _is_early(self, monotonic_seconds: float) -> bool:
        assert self._started is not None
        return monotonic_seconds - self._started < RETURN_SECONDS


def _rank(account: MeterAccount) -> tuple[int, str]:
    return rank_of(account.source), account.label
