"""The books of all meters of the host: each one's own, and those of the whole node at the wall."""

from collections.abc import Iterable, Sequence

from msgspec import Struct, field

from perwatt_agent.accounting.boards import Boards, BoardsWatch
from perwatt_agent.accounting.meter import MeterAccount, MeterState, label_of
from perwatt_agent.accounting.model import modelled_watts
from perwatt_agent.accounting.wall import WallBook, WallState
from perwatt_agent.facts.gpu import GpuSnapshot
from perwatt_agent.facts.host_meter import MeterRole, MeterSnapshot, NodeMeterSnapshot, NodeModel
from perwatt_agent.facts.readings import MeterSample, Readings

MODEL = "model"
PARTS: tuple[MeterRole, ...] = ("package", "dram")
# Where two measure the same processor: its own counters before power that must be integrated.
PART_SOURCES = ("rapl", "grace", "hwmon")


class MetersState(Struct):
    """What outlives a restart of the agent, by the meters' names."""

    meters: dict[str, MeterState] = field(default_factory=dict)
    wall: WallState = field(default_factory=WallState)


class MetersShown(Struct, frozen=True):
    """What is published of one sweep: every meter that gave something, and who speaks for the node."""

    meters: tuple[MeterSnapshot, ...]
    node_meters: tuple[NodeMeterSnapshot, ...]


class MeterBooks:
    """
    Account for the meters sweep by sweep; `interval_seconds` is the period of those that have none.

    *model* is what is assumed of a node without a meter at the wall; without it, nothing is.
    """

    def __init__(
        self, interval_seconds: float, model: NodeModel | None = None, state: MetersState | None = None
    ) -> None:
        state = state or MetersState()
        self.model = model
        self._interval_seconds = interval_seconds
        self._remembered = dict(state.meters)
        self._accounts: dict[str, MeterAccount] = {}
        self._watch = BoardsWatch()
        self._wall = WallBook(state.wall)

    def advance(self, readings: Readings, gpus: Sequence[GpuSnapshot]) -> MetersShown:
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
        return MetersShown(
            tuple(account.snapshot(now, _role(account, speaks, parts)) for account in shown),
            () if speaks is None else (self._wall.snapshot(speaks),),
        )

    def state(self) -> MetersState:
        kept = {label: account.state for label, account in self._accounts.items()}
        return MetersState(self._remembered | kept, self._wall.state)

    def _add(self, sample: MeterSample, boards: Boards) -> MeterAccount:
        label = label_of(sample)
        account = self._accounts.get(label)
        if account is None:
            period_seconds = sample.period_seconds or self._interval_seconds
            account = MeterAccount(sample, period_seconds, self._remembered.get(label))
            self._accounts[label] = account
        self._wall.add(account, account.add(sample, boards))
        return account

    def _modelled(self, parts: Sequence[MeterAccount], boards: Boards, now: float) -> MeterSample | None:
        watts = None if self.model is None else modelled_watts(self.model, boards, parts, now)
        return None if watts is None else MeterSample(MODEL, now, watts, power_is_mean=True)


def _parts(accounts: Iterable[MeterAccount]) -> list[MeterAccount]:
    """Every module, processor and memory that has a meter, each by the best one."""
    best: dict[tuple[str, str], MeterAccount] = {}
    for account in sorted(accounts, key=lambda account: (_preference(account), account.label)):
        if account.scope in ("module", *PARTS):
            best.setdefault((account.scope, account.zone), account)
    return list(best.values())


def _preference(account: MeterAccount) -> int:
    known = account.source in PART_SOURCES
    return PART_SOURCES.index(account.source) if known else len(PART_SOURCES)


def _role(account: MeterAccount, speaks: MeterAccount | None, parts: Sequence[MeterAccount]) -> MeterRole:
    if account is speaks:
        return "node"
    return next((role for role in PARTS if account.scope == role and account in parts), "further")
