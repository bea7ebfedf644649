"""Notes on figures that are valid."""

from perwatt_aggregator.validity.reason import Reason

TABLE: tuple[Reason, ...] = (
    Reason(
        "source_changed",
        False,
        "The node's joules came from one meter first and from another then; the time between them is not "
        "covered.",
        "Nothing; if it happens often, see in `perwatt doctor` why the better meter fails.",
    ),
    Reason(
        "no_host_meter",
        False,
        "Not every node measures its processors and its memory, so that they are part of the rest.",
        "Let the agent read RAPL: see `perwatt doctor`.",
    ),
    Reason(
        "host_meters_above_node",
        False,
        "Boards, processors and memory together show more than the whole node, so that the host is not "
        "told apart.",
        "Check the node's meter, its unit and its factor.",
    ),
    Reason(
        "not_judged",
        False,
        "The engine does not tell whether its work was of use, or for what cause it was not.",
        "Nothing: such engines cannot tell; the joules are `undecided`.",
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
        "Look at `failure` in /v1/nodes.",
    ),
    Reason(
        "node_unreachable",
        False,
        "A configured node gave no reading in the window; it counts as not covered.",
        "Look at `failure` in /v1/nodes.",
    ),
    Reason(
        "engine_unreachable",
        False,
        "An engine's page is out of reach; its tokens and joules wait for it.",
        "Look at `up` in /v1/workloads, then at the engine.",
    ),
    Reason(
        "counter_reset",
        False,
        "A counter started anew within the window; what it counted since then is included.",
        "Nothing: a driver, an engine or an agent was restarted.",
    ),
    Reason(
        "tokens_uncovered",
        False,
        "Tokens of a time without joules were left out.",
        "Nothing: the agent was away while the engine went on.",
    ),
    Reason(
        "no_baseline",
        False,
        "The work shared a GPU whose idle power is not known, so what it used only by being there is not "
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
        "Not every engine tells tokens of requests that ended well from others.",
        "Nothing: such engines cannot tell.",
    ),
    Reason(
        "no_latency_histogram",
        False,
        "An objective is set for the model, and not every engine has a histogram to hold against it, or the "
        "buckets were others at the start of the window.",
        "Nothing: such engines cannot tell (docs/engines.md says which); else wait.",
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
        "Take a longer window, or send work.",
    ),
    Reason(
        "no_requests",
        False,
        "No request is known to have ended well in the window, so there is no energy per request.",
        "Take a longer window, or send work.",
    ),
)
