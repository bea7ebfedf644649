"""What the driver's counter does wrong must never become a joule that nobody used."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from support.agent.rig import Rig
from support.gpus.fakenvml import Constant, FakeDriver

WATTS = 400.0
LIMIT_WATTS = 700.0

Fault = Callable[[FakeDriver], object]
FAULTS: dict[str, Fault] = {
    "none": lambda driver: None,
    "counter reset": lambda driver: driver.reset_energy(0),
    "backward glitch": lambda driver: driver.glitch_energy(0, -50_000.0, reads=3),
    "fall that stays": lambda driver: driver.shift_energy(0, -30_000.0),
    "leap": lambda driver: driver.shift_energy(0, 5_000_000.0),
    "driver reload": lambda driver: driver.reload_driver(),
}


class Consumer:
    """Adds up a counter as Prometheus does: a fall is a restart, a new series starts where it is."""

    def __init__(self) -> None:
        self.joules = 0.0
        self._last: dict[str, float] = {}

    def look(self, rig: Rig) -> None:
        energy = rig.sampler.latest.gpus[0].energy if rig.sampler.latest.gpus else None
        if energy is None:
            return
        if energy.source in self._last:
            before = self._last[energy.source]
            self.joules += energy.joules - before if energy.joules >= before else energy.joules
        self._last[energy.source] = energy.joules


@pytest.fixture
def driver(tmp_path: Path) -> Iterator[FakeDriver]:
    with FakeDriver.create(tmp_path, gpus=1).install() as driver:
        driver.set_waveform(0, Constant(WATTS))
        driver.advance(1_000.0)  # a counter that has run for long
        yield driver


class TestNoFalseJoule:
    @pytest.mark.parametrize("restart", [False, True], ids=["agent stays", "agent restarts"])
    @pytest.mark.parametrize("fault", FAULTS.values(), ids=FAULTS.keys())
    async def test_fault(self, tmp_path: Path, driver: FakeDriver, fault: Fault, restart: bool) -> None:
        """
        Nothing is ever added that was not used; at most what a fault hides is missing.

        A fall that stays is waited for a minute, and then the rest is integrated.
        """
        rig = Rig(tmp_path, driver)
        consumer = Consumer()
        await rig.run(1, consumer.look)
        begin = driver.now
        await rig.run(30, consumer.look)

        fault(driver)
        await rig.run(2, consumer.look)
        if restart:
            rig.restart_agent()
        await rig.run(200, consumer.look)

        exact = driver.exact_energy_joules(0, begin, driver.now)
        hidden_seconds = {"none": 0.5, "backward glitch": 0.5, "fall that stays": 80.0}
        name = next(name for name, one in FAULTS.items() if one is fault)
        assert consumer.joules <= exact * 1.001
        assert consumer.joules >= exact - WATTS * hidden_seconds.get(name, 12.0)

    async def test_the_source_says_what_was_done(self, tmp_path: Path, driver: FakeDriver) -> None:
        """After a leap the power is integrated, until a driver reload brings a counter to trust."""
        rig = Rig(tmp_path, driver)
        await rig.run(3)
        assert "counter" == rig.energy(0).source

        driver.shift_energy(0, 5_000_000.0)
        await rig.run(5)
        assert "integrated" == rig.energy(0).source

        rig.restart_agent()
        await rig.run(5)
        assert "integrated" == rig.energy(0).source, "a restart of the agent mends no counter"

        driver.reload_driver()
        await rig.run(15)
        assert "counter" == rig.energy(0).source

    async def test_a_counter_that_is_unaltered(self, tmp_path: Path, driver: FakeDriver) -> None:
        """What is shown is the driver's own reading, over agent restarts too."""
        rig = Rig(tmp_path, driver)
        await rig.run(5)
        rig.restart_agent()
        await rig.run(5)

        assert WATTS * driver.now == pytest.approx(rig.energy(0).joules, rel=1e-6)
