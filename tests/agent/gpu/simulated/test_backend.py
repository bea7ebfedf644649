"""Simulated GPUs behave as GPUs do, exactly and repeatably, and never pass for real ones."""

import math
from collections.abc import Iterator
from itertools import pairwise

import pytest

from perwatt_agent.clock import ManualClock
from perwatt_agent.facts.gpu_reading import GpuReading
from perwatt_agent.gpu.backend import Device
from perwatt_agent.gpu.simulated.backend import FULL_WATTS, IDLE_WATTS, LIMIT_WATTS, SimulatedBackend
from perwatt_agent.gpu.simulated.load import Load


def devices(clock: ManualClock, seed: int = 0, gpus: int = 2) -> tuple[Device, ...]:
    return SimulatedBackend(clock, gpus=gpus, seed=seed, host="lab").open().devices


def every(clock: ManualClock, device: Device, step_seconds: float, seconds: float) -> Iterator[GpuReading]:
    for _ in range(round(seconds / step_seconds)):
        clock.advance(step_seconds)
        yield device.read()


class TestEnergy:
    def test_integral_of_power(self, clock: ManualClock) -> None:
        """Energy is the integral of power: of 1 s means exactly, over 20 minutes of all moods."""
        (gpu, _) = devices(clock)
        readings = list(every(clock, gpu, 1.0, 1200.0))
        summed = math.fsum(reading.power_watts * 1.0 for reading in readings)

        assert summed == pytest.approx(readings[-1].energy_joules, rel=1e-9)

    def test_not_only_at_whole_seconds(self, clock: ManualClock) -> None:
        """Whatever the instants of the reads, power and energy tell one story."""
        (gpu, _) = devices(clock)
        readings = list(every(clock, gpu, 0.37, 300.0))
        summed = math.fsum(
            (before.power_watts + after.power_watts) / 2 * 0.37 for before, after in pairwise(readings)
        )
        joules = readings[-1].energy_joules - readings[0].energy_joules

        # The mean of the second before trails the instant by half a second.
        assert summed == pytest.approx(joules, rel=0.005)

    def test_starts_at_nothing(self, clock: ManualClock) -> None:
        """A counter that has counted nothing is 0, and its power already that of the moment."""
        first = devices(clock)[0].read()

        assert 0.0 == first.energy_joules
        assert IDLE_WATTS < first.power_watts

    def test_reopened(self, clock: ManualClock) -> None:
        """A new generation goes on counting where the old one was."""
        backend = SimulatedBackend(clock)
        backend.open()
        clock.advance(60.0)
        before = backend.open().devices[0].read()
        backend.close()

        assert before == backend.open().devices[0].read()


class TestBehaviour:
    def test_within_bounds(self, clock: ManualClock) -> None:
        """Over two hours power stays between idle and the limit and touches both moods."""
        (gpu, _) = devices(clock)
        readings = list(every(clock, gpu, 5.0, 7200.0))
        watts = [reading.power_watts for reading in readings]

        assert IDLE_WATTS == pytest.approx(min(watts))
        assert 0.9 * FULL_WATTS < max(watts) <= FULL_WATTS < LIMIT_WATTS == gpu.read_slow().power_limit_watts
        assert all(0.0 <= reading.utilization_ratio <= 1.0 for reading in readings)
        assert all(reading.memory_used_bytes < reading.memory_total_bytes for reading in readings)
        assert all(30.0 < reading.temperature_core_celsius < 80.0 for reading in readings)

    def test_all_follow_power(self, clock: ManualClock) -> None:
        """At the highest power, clock, use and memory are above those at the lowest; heat comes later."""
        (gpu, _) = devices(clock)
        readings = list(every(clock, gpu, 5.0, 7200.0))
        low = min(readings, key=lambda reading: reading.power_watts)
        high = max(readings, key=lambda reading: reading.power_watts)
        hottest = max(readings, key=lambda reading: reading.temperature_core_celsius)

        assert low.utilization_ratio < high.utilization_ratio
        assert low.clock_sm_hertz < high.clock_sm_hertz
        assert low.memory_used_bytes < high.memory_used_bytes
        assert hottest.power_watts > 0.9 * high.power_watts

    def test_deterministic(self) -> None:
        """Equal seeds give equal machines, other seeds others, and no two boards are alike."""
        runs = []
        for seed in (1, 1, 2):
            clock = ManualClock()
            both = devices(clock, seed)
            clock.advance(3600.0)
            runs.append([gpu.read() for gpu in both])

        assert runs[0] == runs[1]
        assert runs[0] != runs[2]
        assert runs[0][0].energy_joules != runs[0][1].energy_joules

    def test_shared_load(self, clock: ManualClock) -> None:
        """A backend under a given load follows it, also when it is made later."""
        load = Load(clock, seed=5)
        first = SimulatedBackend(clock, load=load).open().devices[0]
        clock.advance(100.0)
        second = SimulatedBackend(clock, load=load).open().devices[0]

        assert first.read() == second.read()


class TestLabels:
    def test_simulated_everywhere(self, clock: ManualClock) -> None:
        """Name, UUID, energy source and driver each say that nothing here was measured."""
        backend = SimulatedBackend(clock, gpus=3, host="lab")
        generation = backend.open()

        assert ["SIM-lab-0", "SIM-lab-1", "SIM-lab-2"] == [gpu.info.uuid for gpu in generation.devices]
        assert {"Simulated H100 80GB"} == {gpu.info.name for gpu in generation.devices}
        assert {"simulated"} == {gpu.read().energy_source for gpu in generation.devices}
        assert ["simulated"] * 3 == [backend.name, generation.driver_version, generation.nvml_version]

    def test_own_host(self, clock: ManualClock) -> None:
        """Without a host, the UUID has this machine's name."""
        uuid = SimulatedBackend(clock).open().devices[0].info.uuid

        assert uuid.startswith("SIM-")
        assert len(uuid) > len("SIM--0")
