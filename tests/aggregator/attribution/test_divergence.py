"""A counter that the GPU's own power contradicts: below a bound it is uncertain, beyond it not valid."""

import pytest
from msgspec.structs import replace
from support.fleet.agents import Gpu, Machine, Workload
from support.fleet.fleets import BARE, Followed

from perwatt_agent.facts.snapshot import Snapshot
from perwatt_aggregator.schema.efficiency import EfficiencyItem

REASON = "energy_meters_disagree"
METER_UNCERTAINTY = 0.05


class Doubtful(Machine):
    """A machine whose agent reports how far counters and integrated power of its GPUs differ."""

    divergences: tuple[float | None, ...] = ()

    def snapshot(self) -> Snapshot:
        snapshot = super().snapshot()
        gpus = [
            replace(gpu, energy=replace(gpu.energy, divergence_ratio=divergence)) if gpu.energy else gpu
            for gpu, divergence in zip(snapshot.gpus, self.divergences, strict=True)
        ]
        return replace(snapshot, gpus=tuple(gpus))


def item(*divergences: float | None) -> EfficiencyItem:
    """The fleet's figure of one machine whose GPUs serve one workload, after a minute."""
    gpus = [Gpu(f"GPU-{index}") for index in range(len(divergences))]
    workload = Workload("chat", joules={gpu.uuid: [0.0, 0.0, 0.0] for gpu in gpus})
    machine = Doubtful(gpus, [workload])
    machine.divergences = divergences
    fleet = Followed([machine], BARE)
    fleet.run(90.0)
    return fleet.item()


@pytest.mark.parametrize("divergence", [-0.999, -0.21, 0.21, 0.75])
def test_beyond_the_bound(divergence: float) -> None:
    """It is not valid, with a reason of its own; also a counter so slow that its joules hardly weigh."""
    found = item(divergence)

    assert (False, True) == (found.valid, REASON in found.reasons)


@pytest.mark.parametrize("divergence", [None, -0.199, -0.01, 0.1, 0.199])
def test_within_the_bound(divergence: float | None) -> None:
    """It is valid, and at least as uncertain as the two meters differ."""
    found = item(divergence)

    assert (True, ()) == (found.valid, found.reasons)
    assert found.relative_uncertainty is not None
    assert max(METER_UNCERTAINTY, abs(divergence or 0.0)) <= found.relative_uncertainty


def test_after_the_counter() -> None:
    """While the window has joules of the counter, it is in doubt, though power is integrated now."""
    gpu = Gpu("GPU-0")
    machine = Doubtful([gpu], [Workload("chat", joules={"GPU-0": [0.0, 0.0, 0.0]})])
    machine.divergences = (-0.999,)
    fleet = Followed([machine], BARE)
    fleet.run(90.0)
    gpu.source, gpu.joules, machine.divergences = "integrated", 0.0, (None,)
    fleet.run(30.0)
    assert REASON in fleet.item().reasons
    fleet.run(40.0)

    assert fleet.item().valid


def test_a_small_share() -> None:
    """One doubtful GPU of thirty does not spoil the figure of them all, but adds its part; three do."""
    one = item(0.5, *[0.0] * 29)

    assert (True, pytest.approx(METER_UNCERTAINTY, abs=0.01)) == (one.valid, one.relative_uncertainty)
    assert REASON in item(0.5, 0.5, 0.5, *[0.0] * 27).reasons


def test_beside_a_doubtful_board() -> None:
    """A node meter is divided by board joules: one wrong counter makes all shares at the node wrong."""
    machine = Doubtful([Gpu("GPU-0"), Gpu("GPU-1")], [Workload("chat"), Workload("code")])
    for gpu, workload in zip(machine.gpus, machine.workloads, strict=True):
        workload.take(gpu.uuid)
    machine.divergences = (0.0, 0.5)
    fleet = Followed([machine], BARE)
    fleet.look()
    for _ in range(18):
        machine.run(5.0, node_watts=900.0)
        fleet.clock.advance(5.0)
        fleet.look()

    for boundary, valid in (("gpu_board", [True, False]), ("node", [False, False])):
        items = fleet.items("workload", boundary=boundary)  # type: ignore[arg-type]
        assert valid == [one.valid for one in items]
        assert REASON in items[1].reasons
