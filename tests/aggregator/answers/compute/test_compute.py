"""The chain from peak to useful compute: the value, the provenance and the reasons of each step."""

import pytest
from support.fleet.agents import Gpu, serving_machine
from support.fleet.busy import H100_BF16, PER_TOKEN, Busy, BusyGpu, link, node, ran, step
from support.fleet.fleets import Followed

from perwatt_aggregator.api.metrics import FAMILIES, state_of

UTILIZATION = next(family for family in FAMILIES if family.name == "perwatt_model_flops_utilization_ratio")


class TestSteps:
    def test_chain(self) -> None:
        """Peak, alive, SM active, tensor active, the model's own FLOPs: each as a share of the peak."""
        item = ran(BusyGpu("G-0"), BusyGpu("G-1"))
        useful = 300.0 * PER_TOKEN

        assert (2.0, 2.0, ("bf16",), True, ()) == (
            item.gpus_assigned,
            item.gpus_alive,
            item.precisions,
            item.valid,
            item.reasons,
        )
        assert [2 * H100_BF16, 2 * H100_BF16, H100_BF16, 0.5 * H100_BF16, useful] == pytest.approx(
            [one.flops_per_second for one in item.steps]
        )
        assert [1.0, 1.0, 0.5, 0.25, useful / (2 * H100_BF16)] == pytest.approx(
            [one.share_of_peak_ratio for one in item.steps]
        )
        assert [None, 1.0, 0.5, 0.5] == [one.ratio_to_step_before for one in item.steps[:4]]
        assert ("table", "configured", "counter") == item.provenance
        assert item.model_flops_utilization_ratio == item.steps[-1].share_of_peak_ratio

    def test_cached_prompts_cost_nothing(self) -> None:
        """Output tokens and computed prompt tokens count; cached ones do not."""
        with_cache = ran(BusyGpu("G-0"), cached=50.0)
        without = ran(BusyGpu("G-0"), cached=None)

        assert with_cache.model_flops_utilization_ratio == without.model_flops_utilization_ratio

    def test_counters_are_exact(self) -> None:
        """Cycle counters give the mean of the window, independent of the gauge at the readings."""
        gpu = BusyGpu("G-0", sm=1.0)
        busy = Busy([node(gpu)])
        busy.run(30.0)
        gpu.sm = 0.0
        busy.run(30.0)
        sm_active = step(busy.item("workload"), "sm_active")

        assert ((0.5), ("counter",)) == (pytest.approx(sm_active.share_of_peak_ratio), sm_active.provenance)

    def test_gauges_by_time(self) -> None:
        """Without cycle counters, each reading of the gauge covers the time since the one before."""
        gpu = BusyGpu("G-0", sm=0.8, counts=False)
        busy = Busy([node(gpu)])
        busy.run(45.0)
        gpu.sm = 0.4
        busy.run(15.0)
        sm_active = step(busy.item("workload"), "sm_active")

        assert pytest.approx(0.7) == sm_active.share_of_peak_ratio
        assert (("gauge",), 1.0, True) == (
            sm_active.provenance,
            sm_active.coverage_ratio,
            sm_active.valid,
        )

    def test_no_monitor(self) -> None:
        """Without a performance monitor, two steps are null with a reason; the others are valid."""
        item = ran(BusyGpu("G-0", monitors=False))

        assert [None, None] == [step(item, name).flops_per_second for name in ("sm_active", "tensor_active")]
        assert ("no_performance_monitor",) == step(item, "sm_active").reasons
        assert item.valid
        assert step(item, "model").ratio_to_step_before is None

    def test_links(self) -> None:
        """Bytes over all links of a kind, and the share of the link rate in the busier direction."""
        item = ran(BusyGpu("G-0"), BusyGpu("G-1"))
        pcie, nvlink = link(item, "pcie"), link(item, "nvlink")

        assert [10e9, 20e9, 2 * 63.0e9] == pytest.approx(
            [pcie.transmitted_bytes_per_second, pcie.received_bytes_per_second, pcie.rate_bytes_per_second],
            rel=0.001,
        )
        assert (pytest.approx(20 / 126, rel=0.001), True) == (pcie.share_of_rate_ratio, pcie.valid)
        assert (0.1, True) == (pytest.approx(nvlink.share_of_rate_ratio), nvlink.valid)

    def test_links_unknown(self) -> None:
        """A GPU without byte counters, or with an unknown link rate, has a reason."""
        bare, unknown = ran(Gpu("G-0")), ran(BusyGpu("G-0", name="NVIDIA H100 PCIe"))

        assert ("no_link_counter", "no_link_rate") == link(bare, "pcie").reasons
        assert (("no_link_rate",), None) == (
            link(unknown, "nvlink").reasons,
            link(unknown, "nvlink").share_of_rate_ratio,
        )
        assert 45e9 == pytest.approx(link(unknown, "nvlink").transmitted_bytes_per_second)


class TestAlive:
    def test_lost_for_a_while(self) -> None:
        """FLOPs are the sum over GPUs that are alive: one of eight is lost for half of the window."""
        gpus = [BusyGpu(f"G-{index}", sm=0.8) for index in range(8)]
        busy = Busy([node(*gpus)])
        busy.run(30.0)
        gpus[3].state = "lost"
        busy.run(30.0)
        item = busy.item("workload")
        alive, sm_active = step(item, "alive"), step(item, "sm_active")

        assert (8.0, 7.5) == (item.gpus_assigned, item.gpus_alive)
        assert 7.5 / 8 == alive.share_of_peak_ratio
        assert 7.5 * H100_BF16 == pytest.approx(alive.flops_per_second)
        assert 7.5 * 0.8 * H100_BF16 == pytest.approx(sm_active.flops_per_second)
        assert (True, ()) == (alive.valid, alive.reasons)

    def test_never_there(self) -> None:
        """GPUs that a launch requested and did not get count as assigned, and as not alive."""
        item = ran(BusyGpu("G-0"), BusyGpu("G-1"), missing_gpus=2)

        assert (4.0, 2.0, 0.5) == (
            item.gpus_assigned,
            item.gpus_alive,
            step(item, "alive").share_of_peak_ratio,
        )
        assert 4 * H100_BF16 == step(item, "peak").flops_per_second
        assert item.valid

    def test_gone_without_a_trace(self) -> None:
        """A GPU that is known only by its holder's joules is assigned; its kind is not known."""
        machine = node(BusyGpu("G-0"))
        machine.workloads[0].take("GONE", active=100.0)
        busy = Busy([machine])
        busy.run(60.0)
        item = busy.item("workload")

        assert (2.0, None, False) == (item.gpus_assigned, item.gpus_alive, item.valid)
        assert {"no_peak"} == set(item.reasons)

    def test_idle_gpus_belong_to_the_node(self) -> None:
        """GPUs without a holder count for their node: its utilization is that of all its GPUs."""
        busy = Busy([node(BusyGpu("G-0"), BusyGpu("G-1", sm=0.0, tensor=0.0), held=1)])
        busy.run(60.0)
        whole, (held, nobodys) = busy.item("node"), busy.items("workload")

        assert (2.0, 1.0) == (whole.gpus_assigned, held.gpus_assigned)
        assert ({"workload": None}, 0.0) == (nobodys.group, nobodys.model_flops_utilization_ratio)
        assert held.model_flops_utilization_ratio == pytest.approx(
            2.0 * (whole.model_flops_utilization_ratio or 0.0)
        )
        assert 0.25 == step(whole, "sm_active").share_of_peak_ratio

    def test_unexplained_work(self) -> None:
        """If unknown work used the GPUs, the node's useful FLOPs are higher than what is known."""
        stranger = BusyGpu("G-1")
        busy = Busy([node(BusyGpu("G-0"), stranger, held=1)])
        busy.run(30.0)
        stranger.unknown_joules += 9000.0
        busy.run(30.0)

        held, nobodys = busy.items("workload")

        assert [False, True, False] == [one.valid for one in (busy.item("node"), held, nobodys)]
        assert {"unexplained"} == set(busy.item("node").reasons) == set(nobodys.reasons)

    def test_node_out_of_reach(self) -> None:
        """A node without a reading has no chain but a reason; the fleet's is that of the others."""
        busy = Busy([node(BusyGpu("G-0")), node(BusyGpu("H-0"))])
        busy.run(60.0)
        for _ in range(14):
            busy.fleet.machines[0].run(5.0)
            busy.fleet.clock.advance(5.0)
            busy.fleet.look(at=(0,))
        _, dark = busy.items("node")

        assert (None, False) == (dark.model_flops_utilization_ratio, dark.valid)
        assert {"node_unreachable", "coverage_low"} <= set(dark.reasons)
        assert (1.0, False) == (busy.item().gpus_assigned, busy.item().valid)


class TestAnswer:
    def test_parts_are_the_whole(self) -> None:
        """Peaks and useful FLOPs of workloads and of GPUs without a holder add up to those of the nodes."""
        busy = Busy([node(BusyGpu("G-0"), BusyGpu("G-1")), node(BusyGpu("H-0"), BusyGpu("H-1"), held=1)])
        busy.run(60.0)

        for name in ("peak", "alive", "sm_active", "tensor_active", "model"):
            by_node = [step(item, name).flops_per_second or 0.0 for item in busy.items("node")]
            assert sum(by_node) == pytest.approx(step(busy.item(), name).flops_per_second)
        assert 4 * H100_BF16 == sum(
            step(item, "peak").flops_per_second or 0.0 for item in busy.items("node", "workload")
        )

    def test_simulated(self) -> None:
        """Every step of simulated GPUs has the provenance `simulated`."""
        machine = node(BusyGpu("SIM-0", name="Simulated H100 80GB", source="simulated"))
        machine.backend = "simulated"
        busy = Busy([machine])
        busy.run(60.0)
        item = busy.item("workload")

        assert all("simulated" in one.provenance for one in item.steps)
        assert "simulated" in item.provenance

    def test_metric(self) -> None:
        """A valid utilization is a metric by model, with its provenance."""
        busy = Busy([node(BusyGpu("G-0"))])
        busy.run(60.0)

        assert [(("llama", "60s", "table+configured+counter"), 300.0 * PER_TOKEN / H100_BF16)] == [
            (labels, pytest.approx(value))
            for labels, value in UTILIZATION.read(state_of(busy.fleet.aggregator))
        ]

    def test_before_anything_was_read(self) -> None:
        """Without a reading there is an empty item for each node."""
        fleet = Followed([serving_machine()])
        (item,) = fleet.aggregator.compute(60.0, ("node",)).items

        assert (0.0, None, None, False) == (
            item.gpus_assigned,
            item.gpus_alive,
            item.model_flops_utilization_ratio,
            item.valid,
        )
        assert () == fleet.aggregator.compute(60.0, ("workload",)).items
