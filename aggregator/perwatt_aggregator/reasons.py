"""Why a figure is not valid, or what a reader must know about one that is: the one list of reasons."""

from collections.abc import Iterable

from msgspec import Struct


class Reason(Struct, frozen=True):
    """A reason: whether it makes the figure invalid, what it means, and what cures it."""

    name: str
    invalidates: bool
    meaning: str
    cure: str


TABLE: tuple[Reason, ...] = (
    # What the figure lacks altogether.
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
    # What makes the figure doubtful.
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
        "A meter covers several nodes, and one of those whose share it tells gave no reading, so that nobody "
        "can be given a share.",
        "See in /v1/nodes which of them fails, or give the nodes meters of their own.",
    ),
    # What is good to know; the figure stands by itself.
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
        "pue_period_short",
        False,
        "Facility and IT energy are not yet known for the same 15 minutes, so the stated PUE is used.",
        "Wait; then look at the meters in /v1/facility: IT energy needs a meter, or one at every node.",
    ),
    Reason(
        "pue_stale",
        False,
        "The measured PUE is too old: a live one by a 24th of its period, another one by two years. The "
        "stated ratio is used as a static one.",
        "See in /v1/facility which meter fails, and why; or state a newer measurement.",
    ),
    Reason(
        "pue_coverage_low",
        False,
        "The meters cover less than 95 % of the PUE's period together, so the stated PUE is used.",
        "See in /v1/facility which meter fails, and why.",
    ),
    Reason(
        "pue_below_one",
        False,
        "The facility's meter shows less than IT took, which cannot be, so the stated PUE is used.",
        "Check what either meter feeds, their units and factors.",
    ),
    Reason(
        "pue_implausible",
        False,
        "The facility's meter shows at least ten times what IT took, so the stated PUE is used.",
        "Check the meters' units and factors, and whether every IT load is metered.",
    ),
    Reason(
        "price_stale",
        False,
        "The price that is asked for is not known or too old; `per_kwh` stands in for it, if it is set.",
        "See the price's failure under `meters` in /v1/facility.",
    ),
    Reason(
        "carbon_stale",
        False,
        "The carbon intensity of the window is not known or too old; `grams_co2e_per_kwh` stands in for it, "
        "if it is set.",
        "See the failure under `meters` in /v1/facility; a file must reach to now.",
    ),
    Reason(
        "several_facilities",
        False,
        "The figure spans facilities of different PUE; each joule has that of its own facility.",
        "Group by `node`.",
    ),
    Reason(
        "several_currencies",
        False,
        "The facilities pay in different currencies, which are never added, so there is no cost.",
        "Group by `node`.",
    ),
    Reason(
        "several_carbon_kinds",
        False,
        "Average and marginal carbon intensities are never added, so there are no emissions.",
        "Group by `node`, or give the facilities intensities of one kind.",
    ),
    Reason(
        "no_price",
        False,
        "Not every facility that the figure spans has a price, so there is no cost.",
        "Set `price` for each facility.",
    ),
    Reason(
        "no_carbon",
        False,
        "Not every facility that the figure spans has a carbon intensity, so there are no emissions.",
        "Set `carbon` for each facility.",
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

NAMES: tuple[str, ...] = tuple(reason.name for reason in TABLE)
_INVALIDATING = frozenset(reason.name for reason in TABLE if reason.invalidates)
_ORDER = {name: place for place, name in enumerate(NAMES)}


def ordered(names: Iterable[str]) -> tuple[str, ...]:
    """Each of *names* once, in the table's order. Raises KeyError for a name that is not in it."""
    return tuple(sorted(set(names), key=_ORDER.__getitem__))


def is_valid(names: Iterable[str]) -> bool:
    """Whether a figure with these reasons may be taken at its word."""
    return _INVALIDATING.isdisjoint(names)


def document() -> str:
    """The list as a page of Markdown."""
    lines = [
        "# When a figure is valid",
        "",
        "<!-- Generated from perwatt_aggregator/reasons.py by `make docs`; do not edit. -->",
        "",
        "Every figure of the aggregator carries `valid` and `reasons`, all that apply. One of those marked",
        "*not valid* is enough to make it so: a value that is still shown is then the best there is, and",
        "neither the page at `/` nor `/metrics` gives it as a headline. What cannot be had is null, and a",
        "reason says why; it is never Inf, NaN or a 0 that nobody measured.",
        "",
        "**Engines that count when a request ends** (docs/engines.md says which) give a window all the",
        "tokens of requests that ended in it, and none of those that were still running. The error is",
        "what was in flight at the one edge less what was at the other: at most what as many requests as",
        "ever ran at once had made. Where 10 times as many ended in the window, that is at most a tenth",
        "of the figure, requests being alike; else it carries `counts_at_request_end`. Where an engine",
        "does not count requests, each reading that shows new tokens stands for one end, so that a",
        "shorter `engines.interval` of the agent tells more of them apart. Where it does not say what",
        "runs, 10 ends and 5 minutes are asked for.",
        "",
        "| reason | figure | meaning | cure |",
        "|---|---|---|---|",
    ]
    lines += [
        f"| `{one.name}` | {'not valid' if one.invalidates else 'stands'} | {one.meaning} | {one.cure} |"
        for one in TABLE
    ]
    return "\n".join(lines) + "\n"
