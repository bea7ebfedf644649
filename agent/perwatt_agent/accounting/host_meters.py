"""Accounts of all meters of the host, and of the node meter."""

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
    """Accounts that survive a restart of the agent, by the names of the meters."""

    meters: dict[str, MeterState] = field(default_factory=dict)
    wall: NodeMeterState = field(default_factory=NodeMeterState)


class HostMetersSnapshot(Struct, frozen=True):
    """Meters to publish after one collection cycle: each that reported, and the node meter."""

    meters: tuple[MeterSnapshot, ...]
    node_meters: tuple[NodeMeterSnapshot, ...]


class HostMeters:
    """
    Meters of the host; `interval_seconds` is the period of a meter that reports none.

    *model* has the assumptions about a node without a wall meter; without it, there is no modelled meter.
    """

    def __init__(
        self, interval_seconds: float, model: NodeModel | None = None, state: HostMetersState | None = None
    ) -> None:
        state = state or HostMetersState()
        self.model = model
        self._interval_seconds = interval_seconds
        self._remembered = dict(state.meters)
        self._accounts: dict[str, MeterAccount] = {}
        self._board_power = BoardPowerMonitor()
        self._node_meter = NodeMeter(state.wall)

    def advance(self, readings: Readings, gpus: Sequence[GpuSnapshot]) -> HostMetersSnapshot:
        """Account for one collection cycle and return what to publish."""
        now = readings.monotonic_seconds
        boards = self._board_power.add(now, gpus)
        present = [self._add(sample, boards) for sample in readings.meters]
        parts = _parts(self._accounts.values())
        measured = [part for part in parts if part.has_measured]
        if (modelled := self._modelled(measured, boards, now)) is not None:
            present.append(self._add(modelled, boards))
        shown = list(dict.fromkeys(present))
        candidates = [account for account in shown if account.scope == "node" and account.is_fresh(now)]
        chosen = self._node_meter.choose(now, candidates)
        return HostMetersSnapshot(
            tuple(account.snapshot(now, _role(account, chosen, parts)) for account in shown),
            () if chosen is None else (self._node_meter.snapshot(chosen),),
        )

    def state(self) -> HostMetersState:
        kept = {label: account.state for label, account in self._accounts.items()}
        return HostMetersState(self._remembered | kept, self._node_meter.state)

    def _add(self, sample: MeterSample, boards: BoardPower) -> MeterAccount:
        label = label_of(sample)
        account = self._accounts.get(label)
        if account is None:
            period_seconds = sample.period_seconds or self._interval_seconds
            account = MeterAccount(sample, period_seconds, self._remembered.get(label))
            self._accounts[label] = account
        self._node_meter.add(account, account.add(sample, boards))
        return account

    def _modelled(self, parts: Sequence[MeterAccount], boards: BoardPower, now: float) -> MeterSample | None:
        watts = None if self.model is None else modelled_watts(self.model, boards, parts, now)
        return None if watts is None else MeterSample(model.ROW.name, now, watts, power_is_mean=True)


def _parts(accounts: Iterable[MeterAccount]) -> list[MeterAccount]:
    """Return every module, processor and memory that has a meter, each with the meter of best rank."""
    best: dict[tuple[str, str], MeterAccount] = {}
    for account in sorted(accounts, key=lambda account: (rank_of(account.source), account.label)):
        if account.scope in ("module", *PARTS):
            best.setdefault((account.scope, account.zone), account)
    return list(best.values())


def _role(account: MeterAccount, chosen: MeterAccount | None, parts: Sequence[MeterAccount]) -> MeterRole:
    if account is chosen:
        return "node"
    return next((role for role in PARTS if account.scope == role and account in parts), "further")
