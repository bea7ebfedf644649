"""The books of all meters of the host: each one's own, and those of the whole node at the wall."""

from collections.abc import Iterable, Sequence

from msgspec import Struct, field

from perwatt_agent.accounting.board_power import BoardPower, BoardPowerMonitor
from perwatt_agent.accounting.meter_account import MeterAccount, MeterState, label_of
from perwatt_agent.accounting.node_meter import NodeMeter, NodeMeterState
from perwatt_agent.accounting.node_model import modelled_watts
from perwatt_agent.facts.gpu import GpuSnapshot
from perwatt_agent.facts.host_meter import MeterRole, MeterSnapshot, NodeMeterSnapshot, NodeModel
from perwatt_agent.facts.readings import MeterSample, Readings
from perwatt_agent.meters.catalog import rank_of
from perwatt_agent.meters.kinds import model

PARTS: tuple[MeterRole, ...] = ("package", "dram")


class HostMetersState(Struct):
    """What outlives a restart of the agent, by the meters' names."""

    meters: dict[str, MeterState] = field(default_factory=dict)
    wall: NodeMeterState = field(default_factory=NodeMeterState)


class HostMetersSnapshot(Struct, frozen=True):
    """What is published of one sweep: every meter that gave something, and who speaks for the node."""

    meters: tuple[MeterSnapshot, ...]
    node_meters: tuple[NodeMeterSnapshot, ...]


class HostMeters:
    """
    Account for the meters sweep by sweep; `interval_seconds` is the period of those that have none.

    *model* is what is assumed of a node without a meter at the wall; without it, nothing is.
    """

    def __init__(
        self, interval_seconds: float, model: NodeModel | None = None, state: HostMetersState | None = None
    ) -> None:
        state = state or HostMetersState()
        self.model = model
        self._interval_seconds = interval_seconds
        self._remembered = dict(state.meters)
        self._accounts: dict[str, MeterAccount] = {}
        self._watch = BoardPowerMonitor()
        self._wall = NodeMeter(state.wall)

    def advance(self, readings: Readings, gpus: Sequence[GpuSnapshot]) -> HostMetersSnapshot:
        """Account for one sweep and return what is to be published of it."""
        now = readings.monotonic_seconds
        boards = self._watch.see(now, gpus)
        present = [self._add(sample, boards) for sample in readings.meters]
        parts = _parts(self._accounts.values())
        measured = [part for part in parts if part.has_measured]
        if (modelled := self._modelled(measured, boards, now)) is not None:
            present.append(self._add(modelled, boards))
        shown = list(dict.fromkeys(present))
        candidates = [account for account in shown if account.scope == "node" and account.is_fresh(now)]
        speaks = self._wall.choose(now, candidates)
        return HostMetersSnapshot(
            tuple(account.snapshot(now, _role(account, speaks, parts)) for account in shown),
            () if speaks is None else (self._wall.snapshot(speaks),),
        )

    def state(self) -> HostMetersState:
        kept = {label: account.state for label, account in self._accounts.items()}
        return HostMetersState(self._remembered | kept, self._wall.state)

    def _add(self, sample: MeterSample, boards: BoardPower) -> MeterAccount:
        label = label_of(sample)
        account = self._accounts.get(label)
        if account is None:
            period_seconds = sample.period_seconds or self._interval_seconds
            account = MeterAccount(sample, period_seconds, self._remembered.get(label))
            self._accounts[label] = account
        self._wall.add(account, account.add(sample, boards))
        return account

    def _modelled(self, parts: Sequence[MeterAccount], boards: BoardPower, now: float) -> MeterSample | None:
        watts = None if self.model is None else modelled_watts(self.model, boards, parts, now)
        return None if watts is None else MeterSample(model.ROW.name, now, watts, power_is_mean=True)


def _parts(accounts: Iterable[MeterAccount]) -> list[MeterAccount]:
    """Every module, processor and memory that has a meter, each by the best one."""
    best: dict[tuple[str, str], MeterAccount] = {}
    for account in sorted(accounts, key=lambda account: (rank_of(account.source), account.label)):
        if account.scope in ("module", *PARTS):
            best.setdefault((account.scope, account.zone), account)
    return list(best.values())


def _role(account: MeterAccount, speaks: MeterAccount | None, parts: Sequence[MeterAccount]) -> MeterRole:
    if account is speaks:
        return "node"
    return next((role for role in PARTS if account.scope == role and account in parts), "further")
