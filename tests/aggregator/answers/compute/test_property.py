"""Property of the chain: for any readings and configuration, a ratio is a share or has a reason."""

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.fleet.busy import Busy, BusyGpu, node

from perwatt_aggregator.answers.compute.config import ComputeConfig, ModelConfig
from perwatt_aggregator.schema.compute import LinkUse, Step
from perwatt_aggregator.validity.all import is_valid

pytestmark = pytest.mark.slow


@settings(max_examples=40, deadline=None)
@given(
    gpus=st.lists(
        st.tuples(
            st.sampled_from(["NVIDIA H100 80GB HBM3", "NVIDIA A100-SXM4-80GB", "NVIDIA NEW"]),
            st.floats(0.0, 1.0),
            st.floats(0.0, 1.5),
            st.booleans(),
            st.booleans(),
            st.sampled_from(["ok", "lost"]),
            st.floats(0.0, 1e12),
        ),
        min_size=1,
        max_size=3,
    ),
    tokens_per_second=st.floats(0.0, 1e5),
    parameters=st.floats(1e6, 1e13),
    held=st.integers(0, 3),
    missing=st.integers(0, 2),
)
def test_every_ratio_is_a_share_or_says_why_not(
    gpus: list[tuple[str, float, float, bool, bool, Any, float]],
    tokens_per_second: float,
    parameters: float,
    held: int,
    missing: int,
) -> None:
    """For any readings and configuration, a ratio is within 0 and 1 or flagged, and a null has a reason."""
    machine = node(
        *(
            BusyGpu(f"G-{index}", name=name, sm=sm, tensor=tensor, counts=counts, monitors=monitors,
                    nvlink_bytes_per_second=speed)
            for index, (name, sm, tensor, counts, monitors, _, speed) in enumerate(gpus)
        ),
        held=held,
        missing_gpus=missing,
    )  # fmt: skip
    busy = Busy([machine], ComputeConfig(models=(ModelConfig(parameters_active=parameters),)))
    busy.run(40.0, tokens_per_second=tokens_per_second)
    for gpu, (_, _, _, _, _, state, _) in zip(machine.gpus, gpus, strict=True):
        gpu.state = state
    busy.run(20.0, tokens_per_second=tokens_per_second)

    for by in ((), ("node",), ("workload",), ("model",)):
        for item in busy.items(*by):
            parts: list[Step | LinkUse] = [*item.steps, *item.links]
            for part in parts:
                share = getattr(part, "share_of_peak_ratio", None)
                share = getattr(part, "share_of_rate_ratio", share)
                assert part.valid == is_valid(part.reasons)
                assert share is not None or not part.valid
                if share is not None and not 0.0 <= share <= 1.0 + 1e-9:
                    assert "above_peak" in part.reasons
            for one in item.steps:
                if one.ratio_to_step_before is not None and one.ratio_to_step_before > 1.0 + 1e-6:
                    assert "above_step_before" in one.reasons
