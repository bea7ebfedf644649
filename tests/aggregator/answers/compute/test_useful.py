"""The last step of the chain: the models' own FLOPs, their provenance, and why they are not known."""

import pytest
from support.fleet.agents import Machine, Workload, job, serving_machine
from support.fleet.busy import H100_BF16, LLAMA, PER_TOKEN, Busy, BusyGpu, node, ran, step

from perwatt_aggregator.answers.compute.config import ComputeConfig, ModelConfig, PeakConfig
from perwatt_aggregator.api.metrics import FAMILIES, state_of

UTILIZATION = next(family for family in FAMILIES if family.name == "perwatt_model_flops_utilization_ratio")


class TestUseful:
    def test_no_size(self) -> None:
        """A model's name is not its size."""
        item = ran(BusyGpu("G-0"), model="llama-3-70b")

        assert (None, ("no_model_size",)) == (item.model_flops_utilization_ratio, item.reasons)

    def test_unknown_gpu(self) -> None:
        """Without a known peak there are no FLOPs; shares of time remain."""
        item = ran(BusyGpu("G-0", name="NVIDIA H900"))

        assert (None, ("no_peak",)) == (item.model_flops_utilization_ratio, item.reasons)
        assert (None, 0.5) == (
            step(item, "sm_active").flops_per_second,
            step(item, "sm_active").share_of_peak_ratio,
        )

    def test_stated_peak(self) -> None:
        """A configured peak takes precedence, with its provenance."""
        compute = ComputeConfig(peaks=(PeakConfig(gpu="NVIDIA H900", bf16=1e15),), models=(LLAMA,))
        item = ran(BusyGpu("G-0", name="NVIDIA H900"), compute=compute)

        assert 300.0 * PER_TOKEN / 1e15 == pytest.approx(item.model_flops_utilization_ratio)
        assert ("configured", "counter") == item.provenance

    def test_above_peak(self) -> None:
        """More than the peak means a wrong size or precision: shown, not valid, and nowhere a headline."""
        compute = ComputeConfig(models=(ModelConfig(parameters_active=70e12),))
        busy = Busy([node(BusyGpu("G-0"))], compute)
        busy.run(60.0)
        item = busy.item("workload")

        assert (item.model_flops_utilization_ratio or 0.0) > 1.0
        assert (False, ("above_peak", "above_step_before", "no_attention_term")) == (
            item.valid,
            item.reasons,
        )
        assert [] == list(UTILIZATION.read(state_of(busy.fleet.aggregator)))

    def test_precision(self) -> None:
        """A run in fp8 is compared with the peak of fp8."""
        fp8 = ModelConfig(parameters_active=70e9, layers=80, hidden=8192, context=2048, precision="fp8")
        item = ran(BusyGpu("G-0"), compute=ComputeConfig(models=(fp8,)))

        assert (("fp8",), 2 * H100_BF16) == (item.precisions, step(item, "peak").flops_per_second)

    def test_training(self) -> None:
        """A token in training needs three times the FLOPs of one in serving."""
        machine = Machine([BusyGpu("G-0")], [job("G-0", "tokens", model="mine")])
        size = ModelConfig(
            model="mine", parameters_active=7e9, layers=32, hidden=4096, context=4096, training=True
        )
        busy = Busy([machine], ComputeConfig(models=(size,)))
        busy.run(60.0, tokens_per_second=2000.0)
        item = busy.item("model")

        assert 2000.0 * (6 * 7e9 + 12 * 32 * 4096 * 4096) / H100_BF16 == pytest.approx(
            item.model_flops_utilization_ratio
        )
        assert item.valid

    def test_other_units_are_no_tokens(self) -> None:
        """The tokens of a job that counts samples are not known."""
        machine = Machine([BusyGpu("G-0")], [job("G-0", "samples", model="mine")])
        size = ModelConfig(model="mine", parameters_active=7e9, training=True)
        busy = Busy([machine], ComputeConfig(models=(size,)))
        busy.run(60.0)

        assert "no_token_source" in busy.item("workload").reasons

    def test_prompts_not_told(self) -> None:
        """Output alone is not the work of an engine that also reads prompts."""
        item = ran(BusyGpu("G-0"), computed=None)

        assert (None, ("no_prompt_tokens",)) == (item.model_flops_utilization_ratio, item.reasons)

    def test_engines_own_count(self) -> None:
        """Without a configured size, the engine's own count of FLOPs is used, for each of its GPUs."""
        counted = ran(BusyGpu("G-0"), BusyGpu("G-1"), compute=ComputeConfig(), flops=1e18)
        configured = ran(BusyGpu("G-0"), BusyGpu("G-1"), flops=1e18)

        assert 100.0 * 1e11 / H100_BF16 == pytest.approx(counted.model_flops_utilization_ratio)
        assert (("table", "engine"), ("table", "configured", "counter")) == (
            counted.provenance,
            configured.provenance,
        )

    def test_engines_own_count_at_a_stated_precision(self) -> None:
        """An entry may have only a precision."""
        item = ran(
            BusyGpu("G-0"),
            compute=ComputeConfig(models=(ModelConfig(model="llama", precision="fp8"),)),
            flops=1e18,
        )

        assert 100.0 * 1e11 / (2 * H100_BF16) == pytest.approx(item.model_flops_utilization_ratio)

    def test_no_tokens(self) -> None:
        """Without tokens the FLOPs are a measured 0, for any size of the model."""
        busy = Busy([node(BusyGpu("G-0"))], ComputeConfig())
        busy.run(60.0, tokens_per_second=0.0)
        item = busy.item("workload")

        assert (0.0, True) == (item.model_flops_utilization_ratio, item.valid)

    def test_shared(self) -> None:
        """Two holders of a GPU have equal shares of its peak; together they have one peak."""
        machine = serving_machine()
        machine.gpus = [BusyGpu("GPU-0")]
        second = Workload("other")
        second.take("GPU-0", active=100.0)
        machine.workloads.append(second)
        busy = Busy([machine])
        busy.run(60.0)
        shares = busy.items("workload")

        assert [0.5, 0.5] == [item.gpus_assigned for item in shares]
        assert all("gpus_shared" in item.reasons and item.valid for item in shares)
        assert H100_BF16 == step(busy.item("node"), "peak").flops_per_second

    def test_members_of_an_engine(self) -> None:
        """An engine over two nodes is one: its head's tokens are the work of all its GPUs."""
        head, follower = (
            node(BusyGpu("G-0"), group="pair"),
            node(
                *[BusyGpu("H-0")], group="pair", model="", output=None, computed=None, cached=None,
                effective=None, ok=None,
            ),
        )  # fmt: skip
        follower.workloads[0].name = "follower"
        busy = Busy([head, follower])
        busy.run(60.0)
        alone = busy.items("workload")[0]

        assert 300.0 * PER_TOKEN / (2 * H100_BF16) == pytest.approx(
            busy.item("model").model_flops_utilization_ratio
        )
        assert (False, True) == (alone.valid, "shared_group" in alone.reasons)
