"""Idle power is learnt while nobody uses a GPU, and is never a guess."""

import pytest
from support.accounts.readings import UP, reading

from perwatt_agent.accounting.account import Account
from perwatt_agent.accounting.idle_power import LEARN_SECONDS, IdlePower
from perwatt_agent.facts.gpu import GpuInfo
from perwatt_agent.facts.gpu_process import GpuProcess
from perwatt_agent.facts.gpu_reading import GpuReading, GpuSlowReading
from perwatt_agent.facts.readings import GpuSample, Readings

FREE = ()
TAKEN = (GpuProcess(1),)
COMPOSITOR = GpuProcess(2, 80, 0.0, draws=True)


class Bench:
    """A GPU that is read every second and listed every 10 s."""

    def __init__(self) -> None:
        self.idle = IdlePower()
        self.t = 100.0
        self._slow: GpuSlowReading | None = None

    def run(
        self,
        seconds: int,
        watts: float | None = 70.0,
        processes: tuple[GpuProcess, ...] | None = FREE,
        *,
        utilization: float | None = 0.0,
        memory_ratio: float = 0.0,
        held: bool = False,
    ) -> float | None:
        for _ in range(seconds):
            self.t += 1.0
            if self.t % 10.0 == 0.0:
                self._slow = GpuSlowReading(self.t, processes=processes)
            now = GpuReading(
                self.t,
                power_watts=watts,
                utilization_ratio=utilization,
                memory_used_bytes=round(1000 * memory_ratio),
                memory_total_bytes=1000,
            )
            self.idle.add(now, self._slow, held=held)
        return self.idle.watts


def test_learnt() -> None:
    """The median over a minute without processes."""
    bench = Bench()
    assert None is bench.run(int(LEARN_SECONDS) - 1)
    bench.run(5, 400.0)

    assert 70.0 == bench.run(25)


@pytest.mark.parametrize(
    "used",
    [
        {"processes": TAKEN},
        {"processes": None},
        {"utilization": 0.01},
        {"utilization": None},
        {"memory_ratio": 0.3},
        {"held": True},
        {"watts": None},
    ],
    ids=lambda used: str(used),
)
def test_not_while_it_may_be_used(used: dict) -> None:  # type: ignore[type-arg]
    """A process, load, memory in use, a holder, or not knowing: nothing is learnt, however low the power."""
    assert None is Bench().run(300, **({"watts": 20.0} | used))


@pytest.mark.parametrize(
    ("processes", "memory_ratio", "expected"),
    [
        pytest.param((COMPOSITOR,), 0.08, 70.0, id="its memory is its own"),
        pytest.param((GpuProcess(2, 80, None, draws=True),), 0.08, 70.0, id="no SM utilization"),
        pytest.param((COMPOSITOR,), 0.3, None, id="more memory than it has"),
        pytest.param((GpuProcess(2, 80, 0.1, draws=True),), 0.08, None, id="it draws now"),
        pytest.param((COMPOSITOR, *TAKEN), 0.08, None, id="beside a process that computes"),
        pytest.param((GpuProcess(2, None, 0.0, draws=True),), 0.08, None, id="its memory is not known"),
    ],
)
def test_a_desktop(processes: tuple[GpuProcess, ...], memory_ratio: float, expected: float | None) -> None:
    """A compositor in the list of compute processes is no use of the GPU while it does nothing."""
    assert expected == Bench().run(100, processes=processes, memory_ratio=memory_ratio)


def test_what_was_learnt_stays() -> None:
    """A GPU in use teaches nothing new, even if it draws less than before."""
    bench = Bench()
    bench.run(100)
    bench.run(300, 50.0, TAKEN)

    assert 70.0 == bench.idle.watts


def test_a_new_minute_replaces_the_old() -> None:
    """Idle power changes with the driver and with heat: the newest free minute counts."""
    bench = Bench()
    bench.run(100)
    bench.run(20, 300.0, TAKEN)

    assert 90.0 == bench.run(100, 90.0)


def test_a_process_that_has_just_come() -> None:
    """What was read after the last empty list does not count until the next list is empty too."""
    bench = Bench()
    bench.run(60)
    bench.run(9, 110.0)
    bench.run(200, 110.0, TAKEN)

    assert None is bench.idle.watts


class TestAccount:
    """Configured, it goes over what is learnt; learnt, it outlives the agent."""

    @staticmethod
    def free(account: Account, seconds: int, start: float = 1_000.0) -> float | None:
        gpu = GpuInfo("GPU-0", 0, "Test GPU")
        shown = None
        for t in range(int(start), int(start) + seconds):
            sample = GpuSample(
                "GPU-0", "ok", reading(t, 70.0 * t, 70.0, utilization=0.0), GpuSlowReading(t, processes=FREE)
            )
            readings = Readings(float(t), 1e9 + t, UP, 1, (gpu,), (sample,))
            shown = account.advance(readings).gpus[0].idle_power_watts
        return shown

    def test_learnt(self) -> None:
        account = Account(1.0)
        assert None is self.free(account, 60)
        assert 70.0 == self.free(account, 2, 1_060.0)

        assert 70.0 == self.free(Account(1.0, state=account.state()), 1, 2_000.0)

    def test_configured(self) -> None:
        assert 75.0 == self.free(Account(1.0, idle_watts={"Test GPU": 75.0}), 100)
        assert None is self.free(Account(1.0, idle_watts={"Other GPU": 75.0}), 1)
