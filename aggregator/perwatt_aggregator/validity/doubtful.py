"""Reasons that make a figure doubtful."""

from perwatt_aggregator.validity.reason import Reason

TABLE: tuple[Reason, ...] = (
    Reason(
        "coverage_low",
        True,
        "Readings cover less than 95 % of the window.",
        "Wait until the window is filled; if it stays low, see `failure` in /v1/nodes.",
    ),
    Reason(
        "too_few_readings",
        True,
        "The window has fewer than 4 readings.",
        "Use a longer window, or lower `scrape_interval` or the agent's `engines.interval`.",
    ),
    Reason(
        "source_warning",
        True,
        "The server that readings come from answered with a warning, so samples may be missing.",
        "Read the warning in the log of the aggregator, and mend the server of `sources.prometheus`: often a "
        "part of it does not answer.",
    ),
    Reason(
        "too_few_meter_refreshes",
        True,
        "The meter was refreshed fewer than 10 times in the window.",
        "Use a longer window.",
    ),
    Reason(
        "unexplained",
        True,
        "Less than 95 % of the joules belong to known work, so the ratio describes that work badly.",
        "Configure the missing engines; group by model to see only the known work.",
    ),
    Reason(
        "gpus_missing",
        True,
        "A GPU of the work or of the node does not answer, or the work holds fewer GPUs on its node than its "
        "launch requested, or the claim of a job on a GPU has no proof, so their joules are missing.",
        "See which GPU in /v1/gpus, `perwatt_gpus` by state, and `perwatt_workload_missing_gpus`; name the "
        "members of a multi-node engine with `group`. A job proves its claim by a process on the GPU: report "
        "its `pid`, or add the job to the agent's `work.trusted_jobs`.",
    ),
    Reason(
        "gpu_unmeasurable",
        True,
        "A GPU has neither power nor energy, and no meter of the node has its joules; or a workload uses it, "
        "so that the joules of that meter cannot be divided. `unmeasured_gpus` names it.",
        "If nobody uses it (a display card), exclude it with `gpu.exclude` in the agent's configuration; "
        "otherwise add a meter for the node, and read figures at the boundary `node`.",
    ),
    Reason(
        "several_agents",
        True,
        "Several agents serve one address in turn, so that their counters mix.",
        "Give each agent its own address in `sources.agents`; do not scrape through a load balancer. It is "
        "valid again 15 minutes later.",
    ),
    Reason(
        "several_processes",
        True,
        "The page of an engine of this node is served by several processes in turn, each with counts of its "
        "own, and an engine of the work has no page now.",
        "Give each process an address of its own, and configure each of them in the agent's "
        "`engines.endpoints`.",
    ),
    Reason(
        "implausible_value",
        True,
        "A counter of the agent has a value, or rose faster, than is possible: more than twice the GPU's "
        "power limit, 100 kW of a node, 100,000 output tokens a second of a GPU; or the calibration of a GPU "
        "is not between 0.5 and 1.5. The reading does not count.",
        "The aggregator's log names the counter: check its meter, unit and factor, or the engine's page. The "
        "figure is valid again once the reading has left the window.",
    ),
    Reason(
        "unwitnessed_reset",
        True,
        "A counter of the agent fell, and neither the agent nor the engine shows a restart: another counter "
        "may be in its place. The reading does not count.",
        "The aggregator's log names the counter: do not let several agents, engines or meters answer in turn "
        "at one address. The figure is valid again once the fall has left the window.",
    ),
    Reason(
        "energy_meters_disagree",
        True,
        "A GPU's energy counter differs from its integrated power by more than 20 %, for more than 5 % of "
        "the joules, so one of the two is wrong.",
        "See `perwatt_gpu_energy_divergence_ratio`: update the driver; if it persists, report the GPU and "
        "leave it out with the agent's `gpu.exclude`.",
    ),
    Reason(
        "spans_differ",
        True,
        "Work whose page came late has tokens and joules from before the window, and other work of the group "
        "has not, so that the two do not add up: more than 2 % of the joules or tokens are from before.",
        "Wait until that page's return has left the window, use a longer window, or group by `workload`.",
    ),
    Reason(
        "shared_group",
        True,
        "The item has only some members of an engine that spans several, so its tokens and joules do "
        "not match.",
        "Group by `group` or by `model`.",
    ),
    Reason(
        "tokens_span_gpus",
        True,
        "The work ran on several GPUs at once, and its tokens cannot be split by GPU.",
        "Group by `workload`.",
    ),
    Reason(
        "node_meter_below_boards",
        True,
        "The node's meter shows less than its GPU boards alone, so it does not measure the whole node.",
        "Check what the meter supplies, its unit and its factor.",
    ),
    Reason(
        "counts_at_request_end",
        True,
        "The engine counts tokens when a request ends, and fewer requests ended in the window than 10 "
        "times those that ran at once.",
        "Use a longer window; at least 5 minutes if the engine does not report running requests.",
    ),
    Reason(
        "shared_meter_incomplete",
        True,
        "A meter covers several nodes, and the meter or one of the nodes has no reading, so that its "
        "energy cannot be split.",
        "See in /v1/nodes whether a node fails, and in the aggregator's log whether the meter does.",
    ),
)
