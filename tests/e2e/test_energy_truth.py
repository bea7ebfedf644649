"""Is the page's energy true? The whole agent, in process, over a fake driver whose exact energy is known."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from support.agent.rig import Rig
from support.gpus.fakenvml import Constant, FakeDriver, Ramp, Square

GPUS = 8
MINUTES = 10
PULSES = {
    "33 ms of every 100 ms": Square(90.0, 690.0, period_seconds=0.1, duty=0.33),
    "3 s of every 15 s": Square(90.0, 690.0, period_seconds=15.0, duty=0.2),
}


@pytest.fixture
def driver(tmp_path: Path) -> Iterator[FakeDriver]:
    with FakeDriver.create(tmp_path, gpus=GPUS).install() as driver:
        yield driver


class TestCounter:
    @pytest.mark.parametrize("pulse", PULSES.values(), ids=PULSES.keys())
    async def test_bursts(self, tmp_path: Path, driver: FakeDriver, pulse: Square) -> None:
        """Ten minutes of bursts on eight GPUs are counted within 0.1 % of the exact integral."""
        for gpu in range(GPUS):
            driver.set_waveform(gpu, pulse)
        rig = Rig(tmp_path, driver)
        await rig.run(1)
        first = [rig.energy(gpu) for gpu in range(GPUS)]
        begin = driver.now

        await rig.run(60 * MINUTES)

        for gpu in range(GPUS):
            exact = driver.exact_energy_joules(gpu, begin, driver.now)
            assert "counter" == rig.energy(gpu).source
            assert exact == pytest.approx(rig.energy(gpu).joules - first[gpu].joules, rel=1e-3)
            assert 60 * MINUTES == pytest.approx(rig.energy(gpu).covered_seconds)


class TestIntegrated:
    async def test_ramp(self, tmp_path: Path) -> None:
        """A board without a counter: a ramp of 10 s is integrated within 1 %."""
        with FakeDriver.create(tmp_path, gpus=1, architecture="pascal").install() as driver:
            driver.set_waveform(0, Constant(50.0))
            rig = Rig(tmp_path, driver)
            await rig.run(5)
            before, begin = rig.energy(0), driver.now
            driver.set_waveform(0, Ramp(50.0, 250.0, 10.0))

            await rig.run(10)

            exact = driver.exact_energy_joules(0, begin, driver.now)
            assert "integrated" == rig.energy(0).source
            assert exact == pytest.approx(rig.energy(0).joules - before.joules, rel=1e-2)
