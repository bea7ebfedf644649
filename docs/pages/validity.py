"""docs/validity.md: every reason with its meaning and cure, and how uncertainty is found."""

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
        for one in REASONS
    ]
    return "\n".join([*lines, "", uncertainty_section()])


def uncertainty_section() -> str:
    """How uncertainty is found, and the table of classes, as Markdown."""
    lines = [
        "## How far a figure may be off",
        "",
        "`relative_uncertainty` is a standard uncertainty (one sigma) of the energy, and so of each ratio",
        "over it: tokens are counted. It is the root of the sum of the squares of",
        "",
        "- the **meter's**: the table below, or `uncertainty.meters` of the configuration;",
        "- the **window's**: its two edges, each within half of the meter's period T, are",
        "  T / (sqrt(6) x window), and what is not covered (1 - coverage) / sqrt(3);",
        "- that of **alignment**: half a period / (sqrt(3) x window), for what is not read at one instant;",
        "- at the facility that of the **PUE**, which /v1/facility shows.",
        "",
        "Meters of one class are off together: a sum over nodes is as uncertain as its terms. It is null",
        "where nothing real was measured. Displays show three significant digits at most, JSON all of them.",
        "",
        "| source | standard uncertainty | what it is |",
        "|---|---|---|",
    ]
    lines += [f"| `{one.source}` | {100.0 * one.ratio:g} % | {one.basis} |" for one in METERS]
    lines.append(f"| any other | {100.0 * OTHER_RATIO:g} % | |")
    return "\n".join(lines) + "\n"
