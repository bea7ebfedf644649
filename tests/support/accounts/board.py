"""A GPU whose energy is known to the joule, behind a counter that may lie."""

import msgspec

from perwatt_agent.accounting.gpu_energy import EnergyAccount, EnergyState
from perwatt_agent.facts.gpu import GpuEnergy
from support.accounts.readings import reading

LIMIT = 700.0
MAX_GAP_SECONDS = 3.0


def restarted(account: EnergyAccount) -> EnergyAccount:
    """The account of another agent, which knows what the first one saved."""
    saved = msgspec.json.encode(account.state)
    return EnergyAccount(MAX_GAP_SECONDS, msgspec.json.decode(saved, type=EnergyState))


class Reader:
    """Sums the deltas of each source's series, and adds the value after a fall: as Prometheus does."""

    def __init__(self) -> None:
        self.joules = 0.0
        self._last: dict[str, float] = {}

    def see(self, energy: GpuEnergy) -> None:
        last = self._last.get(energy.source, energy.joules)
        self.joules += energy.joules - last if energy.joules >= last else energy.joules
        self._last[energy.source] = energy.joules


class Board:
    """A GPU that uses power and counts it, the agent that reads it, and who reads the agent's page."""

    def __init__(self, counter_joules: float = 500_000.0) -> None:
        self.t = 1_000.0
        self.true_joules = 0.0
        self.counter_joules = counter_joules
        self.generation = 1
        self.account = EnergyAccount(MAX_GAP_SECONDS)
        self.reader = Reader()
        self.energy: GpuEnergy | None = None
        self.slack_joules = 0.0
        """The most that faults so far can have made the agent believe beyond the truth."""
        self._read_joules = 0.0
        self._read_at = self.t
        self.look()

    def run(self, seconds: int, watts: float, *, with_counter: bool = True) -> None:
        for _ in range(seconds):
            self.pass_time(1.0, watts)
            self.look(self.counter_joules if with_counter else None)

    def pass_time(self, seconds: float, watts: float) -> None:
        self.t += seconds
        self.true_joules += seconds * watts
        self.counter_joules += seconds * watts

    def look(self, counter_joules: float | None = -1.0, *, with_power: bool = True) -> None:
        """Read the board; its counter says *counter_joules*, by default the truth."""
        said = self.counter_joules if counter_joules == -1.0 else counter_joules
        seconds = self.t - self._read_at
        watts = (self.true_joules - self._read_joules) / seconds if seconds else 0.0
        self._read_at, self._read_joules = self.t, self.true_joules
        self.energy = self.account.add(
            reading(self.t, said, watts if with_power else None, utilization=0.5), LIMIT, self.generation
        )
        if self.energy is not None:
            self.reader.see(self.energy)

    def suffer(self) -> None:
        """Allow for a fault: what a board can use in the time that is not accounted for yet."""
        state = self.account.state
        broken = state.counter is None or state.counter.broken_since is not None
        since = state.accounted_until if broken or state.counter is None else state.counter.monotonic_seconds
        self.slack_joules += 1.5 * LIMIT * (self.t - since + 1.5)

    def restart_agent(self) -> None:
        self.account = restarted(self.account)
        self.generation = 1  # each run counts the driver's lives anew

    @property
    def source(self) -> str | None:
        return None if self.energy is None else self.energy.source
