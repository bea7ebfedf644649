"""A GPU that workloads hold by MIG instance: whose part is an estimate, and whose is not."""

from support.fleet.agents import Gpu, Machine, Workload
from support.fleet.fleets import Followed


def fleet(*gpus: Gpu) -> Followed:
    """Two workloads on instances of the first GPU, after a minute."""
    chat, code = Workload("chat"), Workload("code", model="qwen", method="mig_slice")
    chat.method = "mig_activity"
    machine = Machine([Gpu("GPU-0", idle_power_watts=70.0), *gpus], [chat, code])
    for workload in machine.workloads:
        workload.take("GPU-0", active=1.0)
    followed = Followed([machine])
    followed.look()
    followed.run(60.0)
    return followed


def test_provenance() -> None:
    """A workload's part is estimated; what all owners of the GPU took together was measured."""
    found = fleet()

    for by in ("model", "workload"):
        items = found.items(by)
        assert [(("counter", "estimated"), True)] * 2 == [(item.provenance, item.valid) for item in items]
    for items in (found.items("gpu"), found.items("node")):
        assert [("counter",)] == [item.provenance for item in items]
    assert ("counter",) == found.item().provenance
    assert [("counter", "estimated")] * 2 == [
        item.provenance for item in found.aggregator.workload_answer().items
    ]


def test_the_rest() -> None:
    """Other GPUs are not divided, and the energy of GPUs without a holder is measured."""
    rest = fleet(Gpu("GPU-1")).items("model")[-1]

    assert ({"model": None}, ("counter",)) == (rest.group, rest.provenance)
