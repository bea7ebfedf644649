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
        "The measured energy is zero, so nothing can be divided by it.",
        "Use a longer window; if the energy counter never moves, run `perwatt doctor`.",
    ),
    Reason(
        "no_token_source",
        True,
        "No engine reports its output tokens.",
        "Configure the engine's page under `engines` in the agent's configuration.",
    ),
    Reason(
        "no_node_meter",
        True,
        "At least one node has no node meter, so its joules at the node are not known.",
        "Configure a meter for the node, or set `facility.node_overhead` for an estimate.",
    ),
    Reason(
        "no_pue",
        True,
        "The facility's PUE is not configured, or the measured one is not usable and no ratio is configured.",
        "Set `facility.pue` in the aggregator's configuration; for a live PUE, also set its `ratio`.",
    ),
    Reason(
        "node_never_seen",
        True,
        "A configured node has never been read with its GPUs, so how many it has is not known.",
        "See `failure` in /v1/nodes: start the agent of the node, or remove the node from `sources`. "
        "`data_dir` keeps the number of GPUs over restarts of the aggregator.",
    ),
    Reason(
        "targets_unknown",
        True,
        "A source of targets has not been read since the start, so the fleet may have more nodes.",
        "See `sources` in /v1/nodes: mend the file, the URL or the name under `sources` in the aggregator's "
        "configuration.",
    ),
    Reason(
        "unattributed",
        True,
        "These joules belong to no workload: nobody held the GPUs, or unknown work used them.",
        "Configure the engines that use these GPUs, or free the GPUs.",
    ),
)
