"""Reasons that make a figure doubtful."""

from perwatt_aggregator.validity.reason import Reason

TABLE: tuple[Reason, ...] = (
    Reason(
        "coverage_low",
        True,
        "Readings cover less than 95 % of the window.",
        "Wait until the window is filled; else look at `failure` in /v1/nodes.",
    ),
    Reason(
        "too_few_readings",
        True,
        "Fewer than 4 readings fall into the window.",
        "Take a longer window, or shorten `scrape_interval` or the agent's `engines.interval`.",
    ),
    Reason(
        "too_few_meter_refreshes",
        True,
        "The meter was refreshed fewer than 10 times in the window.",
        "Take a longer window.",
    ),
    Reason(
        "unexplained",
        True,
        "Less than 95 % of the joules belong to known work, so the ratio says little about that work.",
        "Name the missing engines; group by model to see the known work alone.",
    ),
    Reason(
        "gpus_missing",
        True,
        "A GPU that belongs to the work does not answer, or the work holds fewer GPUs on its node than its "
        "launch asked for, so their joules are missing.",
        "See which one in /v1/gpus, and `perwatt_workload_missing_gpus`; name the members of a multi-node "
        "engine with `group`.",
    ),
    Reason(
        "shared_group",
        True,
        "The item holds some members of an engine that spans several; only all of them can be divided.",
        "Group by `group` or by `model`.",
    ),
    Reason(
        "tokens_span_gpus",
        True,
        "The work ran on several GPUs at once, and its tokens cannot be told apart by GPU.",
        "Group by `workload`.",
    ),
    Reason(
        "node_meter_below_boards",
        True,
        "The node's meter shows less than its GPU boards alone: it does not measure the whole node.",
        "Check what the meter feeds, its unit and its factor.",
    ),
    Reason(
        "counts_at_request_end",
        True,
        "The engine counts tokens when a request ends, and fewer than 10 times as many ended in the window "
        "as ran at once.",
        "Take a longer window; where the engine does not say what runs, one of at least 5 minutes.",
    ),
    Reason(
        "shared_meter_incomplete",
        True,
        "A meter covers several nodes, and it or one of them gave no reading, so that none can be given its "
        "share.",
        "See in /v1/nodes which of them fails, and in the log whether the meter does.",
    ),
)
