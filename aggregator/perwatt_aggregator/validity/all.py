"""Why a figure is not valid, or what a reader must know about one that is: the one list of reasons."""

from collections.abc import Iterable

from perwatt_aggregator.validity import compute, doubtful, facility, lacking, notes, uncertainty
from perwatt_aggregator.validity.reason import Reason

TABLE: tuple[Reason, ...] = (
    *lacking.TABLE,
    *doubtful.TABLE,
    *compute.TABLE,
    *facility.TABLE,
    *notes.TABLE,
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
        "<!-- Generated from perwatt_aggregator/reasons by `make docs`; do not edit. -->",
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
    return "\n".join([*lines, "", uncertainty.document()])
