"""Notes on figures that are valid."""

from perwatt_aggregator.validity.reason import Reason

TABLE: tuple[Reason, ...] = (
    Reason(
        "source_changed",
        False,
        "The node's joules are from one meter first and from another one later; the time in between is "
        "not covered.",
        "None; if it happens often, see in `perwatt doctor` why the better meter fails.",
    ),
    Reason(
        "no_host_meter",
        False,
        "Not every node measures its processors and its memory, so these are part of the rest.",
        "Let the agent read RAPL: see `perwatt doctor`.",
    ),
    Reason(
        "host_meters_above_node",
        False,
        "Boards, processors and memory together show more than the whole node, so the host is not "
        "divided further.",
        "Check the node's meter, its unit and its factor.",
    ),
    Reason(
        "not_judged",
        False,
        "The engine does not report whether its work was useful, or why it was not.",
        "None: such engines cannot report it; the joules are `undecided`.",
    ),
    Reason(
        "window_not_filled",
        False,
        "The readings do not reach back to the start of the window yet.",
        "Wait.",
    ),
    Reason(
        "stale",
        False,
        "The newest reading is older than three scrape intervals.",
        "See `failure` in /v1/nodes.",
    ),
    Reason(
        "node_unreachable",
        False,
        "A configured node has no reading in the window; it counts as not covered.",
        "See `failure` in /v1/nodes.",
    ),
    Reason(
        "engine_unreachable",
        False,
        "An engine's page cannot be read; its tokens and joules are counted once it can.",
        "See `up` in /v1/workloads, then check the engine.",
    ),
    Reason(
        "counter_reset",
        False,
        "A counter was reset within the window; what it counted since then is included.",
        "None: a driver, an engine or an agent was restarted.",
    ),
    Reason(
        "tokens_uncovered",
        False,
        "Tokens of a time without joules were left out.",
        "None: the engine ran while the agent did not.",
    ),
    Reason(
        "no_baseline",
        False,
        "The work shared a GPU whose idle power is not known, so its share of the idle energy is not "
        "known either.",
        "Let the agent run for a minute while nobody uses the GPU, or set `attribution.idle_watts`.",
    ),
    Reason(
        "other_units",
        False,
        "The work is counted in units of its own, not in output tokens.",
        "Read `work` and `work_per_joule`.",
    ),
    Reason(
        "no_effective_tokens",
        False,
        "Not every engine distinguishes the tokens of successful requests.",
        "None: such engines cannot report it.",
    ),
    Reason(
        "no_latency_histogram",
        False,
        "The model has an objective, and not every engine has a histogram for it, or the buckets "
        "changed within the window.",
        "None: such engines cannot report it (docs/engines.md lists them); otherwise wait.",
    ),
    Reason(
        "prompt_tokens_only",
        False,
        "The engines make no output: their useful unit is prompt tokens.",
        "Read `headline`.",
    ),
    Reason(
        "no_output_tokens",
        False,
        "No output token was made in the window, so there is no energy per token.",
        "Use a longer window, or send requests.",
    ),
    Reason(
        "no_requests",
        False,
        "No request is known to have succeeded in the window, so there is no energy per request.",
        "Use a longer window, or send requests.",
    ),
)
