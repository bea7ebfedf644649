"""docs/validity.md: every reason with its meaning and what to do about it, and the uncertainty."""

from perwatt_aggregator.validity.all import TABLE as REASONS
from perwatt_aggregator.validity.uncertainty import OTHER_RATIO
from perwatt_aggregator.validity.uncertainty import TABLE as METERS


def document() -> str:
    """The list as a page of Markdown."""
    lines = [
        "# When a figure is valid",
        "",
        "<!-- Generated from perwatt_aggregator/validity by `make docs`; do not edit. -->",
        "",
        "Every figure of the aggregator has `valid`, and `reasons` with all that apply. One reason",
        "that is marked *not valid* makes the figure not valid. A value that is shown nevertheless is",
        "the best one available; the page at `/` and `/metrics` do not show it as a headline. A",
        "figure that is not known is null and has a reason; it is never Inf or NaN, and never a 0",
        "that was not measured.",
        "",
        "**Some engines count tokens when a request ends** (docs/engines.md lists them). A window",
        "then has all tokens of the requests that ended in it, and none of the requests that were",
        "still running. The error is the difference between the unfinished requests at the two ends",
        "of the window. It is at most the tokens of the largest number of requests that ran at once.",
        "If 10 times as many requests ended in the window, the error is at most a tenth of the",
        "figure, for requests of similar length; otherwise the figure has the reason",
        "`counts_at_request_end`. If the engine does not count requests, each reading with new tokens",
        "counts as one end; a shorter `engines.interval` of the agent then finds more of them. If the",
        "engine does not report running requests, the window needs 10 ends and 5 minutes.",
        "",
        "| reason | figure | meaning | what to do |",
        "|---|---|---|---|",
    ]
    lines += [
        f"| `{one.name}` | {'not valid' if one.invalidates else 'valid'} | {one.meaning} | {one.cure} |"
        for one in REASONS
    ]
    return "\n".join([*lines, "", uncertainty_section()])


def uncertainty_section() -> str:
    """Uncertainty and its table of meter classes, as Markdown."""
    lines = [
        "## Uncertainty",
        "",
        "`relative_uncertainty` is a standard uncertainty (one sigma) of the energy. It is also that",
        "of each ratio over the energy, because tokens are counted exactly. It is the root of the sum",
        "of the squares of",
        "",
        "- the **meter**: the table below, or `uncertainty.meters` in the configuration;",
        "- the **window**: its two ends, each within half of the meter's period T, add",
        "  T / (sqrt(6) x window); time that is not covered adds (1 - coverage) / sqrt(3);",
        "- the **alignment**: half a period / (sqrt(3) x window), for values of different instants;",
        "- a **restart** of the engine: its tokens since the reading before may be lost, which adds that",
        "  time / (sqrt(3) x window);",
        "- **late work**: the share of joules or tokens from before the window / sqrt(3), where other work",
        "  of the figure has none from then;",
        "- the **PUE**, for figures of the facility; /v1/facility shows it.",
        "",
        "Errors of meters of one class are correlated: a sum over nodes is as uncertain as its terms.",
        "It is null for simulated energy. Displays show at most three significant digits, JSON shows",
        "all.",
        "",
        "| source | standard uncertainty | basis |",
        "|---|---|---|",
    ]
    lines += [f"| `{one.source}` | {100.0 * one.ratio:g} % | {one.basis} |" for one in METERS]
    lines.append(f"| any other | {100.0 * OTHER_RATIO:g} % | |")
    return "\n".join(lines) + "\n"
