"""Reasons for a figure that is missing altogether."""

from perwatt_aggregator.validity.reason import Reason

TABLE: tuple[Reason, ...] = (
    Reason(
        "no_energy",
        True,
        "No board energy was measured in the window.",
        "See in /v1/gpus whether the GPUs are up, and in `perwatt doctor` what the driver can measure.",
    ),
    Reason(
        "no_joules",
        True,
        "The measured energy did not move, so nothing can be divided by it.",
        "Take a longer window; a counter that never moves is a matter for `perwatt doctor`.",
    ),
    Reason(
        "no_token_source",
        True,
        "No engine told how many output tokens it made.",
        "Name the engine's page under `engines` in the agent's configuration.",
    ),
    Reason(
        "no_node_meter",
        True,
        "At least one node has no meter at the wall, so its joules at the node are unknown.",
        "Give the node a meter, or state `facility.node_overhead` and get an estimate.",
    ),
    Reason(
        "no_pue",
        True,
        "The facility's PUE is not configured, or it was refused and no ratio stands in for it.",
        "Set `facility.pue` in the aggregator's configuration; with a live one, a `ratio` to fall back to.",
    ),
    Reason(
        "unattributed",
        True,
        "These joules belong to no workload: GPUs that nobody held, or work that nobody explained.",
        "Name the engines that use these GPUs, or free the GPUs.",
    ),
)
