"""The readings of a collection cycle become the published snapshot."""

import msgspec
import pytest
from support.accounts.node import Engine, Node
from support.accounts.readings import At, info, limit, reading, sweep

from perwatt_agent.accounting.account import SLOW_VALID_SECONDS, Account
from perwatt_agent.facts.gpu import GpuSnapshot
from perwatt_agent.facts.gpu_process import GpuProcess
from perwatt_agent.facts.gpu_reading import GpuSlowReading
from perwatt_agent.facts.host_meter import NodeMeterSnapshot
from perwatt_agent.facts.readings import GpuSample, MeterSample, Readings


def swept(t: float, joules: float, slow: GpuSlowReading | None = None) -> Readings:
    gpu = GpuSample("GPU-0", "ok", reading(t, joules, 300.0), slow)
    return msgspec.structs.replace(sweep(t, {0: At()}), gpus=(gpu,))


class TestGpu:
    @pytest.mark.parametrize(
        ("sm_ratio", "rest"), [(0.0, (300.0, 0.0)), (None, (300.0, 0.0)), (0.1, (0.0, 300.0))]
    )
    def test_a_desktop(self, sm_ratio: float | None, rest: tuple[float, float]) -> None:
        """The joules of an idle desktop are nobody's; what its compositor draws by work is unknown."""
        compositor = (GpuProcess(2, sm_ratio=sm_ratio, draws=True),)
        account = Account(1.0)
        account.advance(sweep(100.0, {0: At(5_000.0, 300.0, 0.0, compositor)}))
        (gpu,) = account.advance(sweep(101.0, {0: At(5_300.0, 300.0, 0.0, compositor)})).gpus

        assert rest == (gpu.unallocated_joules, gpu.unknown_joules)

    def test_shown(self) -> None:
        """A GPU that was read shows its reading, its energy, its rest, and its calibration apart."""
        account = Account(1.0, calibration={"GPU-0": 0.95})
        account.advance(sweep(100.0, {0: At(5_000.0, 300.0, 0.5)}))
        (gpu,) = account.advance(sweep(101.0, {0: At(5_300.0, 300.0, 0.5)})).gpus

        assert gpu.energy is not None
        assert ("ok", 5_300.0, 300.0, 0.95) == (
            gpu.state,
            gpu.energy.joules,
            gpu.energy.accepted_joules,
            gpu.calibration_ratio,
        )
        assert (0.0, 300.0) == (gpu.unallocated_joules, gpu.unknown_joules)

    def test_lost(self) -> None:
        """Of a GPU that was not read only what it is remains: no value, neither 0 nor an old one."""
        account = Account(1.0, calibration={"GPU-0": 0.95})
        account.advance(sweep(100.0, {0: At(5_000.0, 300.0)}))
        (gpu,) = account.advance(sweep(101.0, {0: None})).gpus

        assert GpuSnapshot(info(0), "lost", calibration_ratio=0.95) == gpu

    def test_without_energy(self) -> None:
        """A GPU that gives neither counter nor power shows what it gives, and no energy."""
        (gpu,) = Account(1.0).advance(sweep(100.0, {0: At(utilization=0.5)})).gpus

        assert (0.5, None, None) == (
            gpu.reading and gpu.reading.utilization_ratio,
            gpu.energy,
            gpu.unknown_joules,
        )

    def test_slow_facts_last_two_periods(self) -> None:
        """Slow facts are shown until they are older than two of their tier's periods."""
        account = Account(1.0)
        slow = limit(100.0, 700.0)
        shown = [
            account.advance(swept(t, 300.0 * t, slow if t == 100.0 else None)).gpus[0].slow
            for t in (100.0, 110.0, 100.0 + SLOW_VALID_SECONDS, 100.5 + SLOW_VALID_SECONDS)
        ]

        assert [slow, slow, slow, None] == shown

    def test_lower_limit_is_no_leap(self) -> None:
        """What was used under the old limit stays plausible when the limit is lowered."""
        account = Account(1.0)
        account.advance(swept(100.0, 0.0, limit(100.0, 700.0, max_watts=700.0)))
        (gpu,) = account.advance(swept(110.0, 7_000.0, limit(110.0, 200.0, max_watts=700.0))).gpus

        assert ("counter", 7_000.0) == (
            gpu.energy and gpu.energy.source,
            gpu.energy and gpu.energy.accepted_joules,
        )

    def test_limit_bounds_a_leap(self) -> None:
        """The GPU's own limit tells what is implausible."""
        account = Account(1.0)
        account.advance(swept(100.0, 0.0, limit(100.0, 300.0)))
        (gpu,) = account.advance(swept(110.0, 7_000.0)).gpus

        assert "integrated" == (gpu.energy and gpu.energy.source)


class TestSnapshot:
    def test_passed_on(self) -> None:
        """Time, backend, the order of GPUs and what is unidentified are the sweep's own."""
        readings = msgspec.structs.replace(
            sweep(100.0, {1: At(1.0), 0: None}), unidentified_gpus=2, unix_seconds=5.0
        )
        snapshot = Account(1.0).advance(readings)

        assert (5.0, 100.0, readings.backend, 2) == (
            snapshot.unix_seconds,
            snapshot.monotonic_seconds,
            snapshot.backend,
            snapshot.unidentified_gpus,
        )
        assert [("GPU-1", "ok"), ("GPU-0", "lost")] == [(gpu.info.uuid, gpu.state) for gpu in snapshot.gpus]

    def test_parts_sum_to_the_board(self) -> None:
        """On one snapshot: workloads + rest + waiting = board, GPU by GPU."""
        node = Node(2, [Engine("a", gpus=(0, 1)), Engine("b", gpus=(1,))])
        account = Account(1.0)
        for _ in range(33):
            snapshot = account.advance(node.sweep())

            for gpu in snapshot.gpus:
                assert gpu.energy is not None
                assert gpu.unallocated_joules is not None
                assert gpu.unknown_joules is not None
                workloads = sum(
                    held.active_joules + held.idle_joules + held.loading_joules
                    for workload in snapshot.workloads
                    for held in workload.energy
                    if held.gpu == gpu.info.uuid
                )
                rest = gpu.unallocated_joules + gpu.unknown_joules
                waiting = account.waiting_joules(gpu.info.uuid)
                assert pytest.approx(gpu.energy.accepted_joules, abs=1e-6) == workloads + rest + waiting


class TestNodeMeter:
    def test_integrated(self) -> None:
        """A meter's watts are joined by straight lines; a long gap is not covered; sources stay apart."""
        account = Account(1.0)
        shown: tuple[NodeMeterSnapshot, ...] = ()
        for t, watts in ((100.0, 1_000.0), (101.0, 2_000.0), (110.0, 2_000.0), (111.0, 2_000.0)):
            shown = account.advance(sweep(t, {}, meters=[MeterSample("csv", t, watts)])).node_meters

        assert (NodeMeterSnapshot("csv", 3_500.0, 2.0, 2_000.0),) == shown
        other = account.advance(sweep(112.0, {}, meters=[MeterSample("ipmi", 112.0, 900.0)])).node_meters
        assert (NodeMeterSnapshot("ipmi", 0.0, 0.0, 900.0),) == other
