"""Tables for a terminal: answers of the aggregator, aligned, with at most three significant digits."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from decimal import Decimal
from typing import Any

from perwatt.errors import CommandError
from perwatt.table_layout import aligned, too_wide
from perwatt.terminal import PLAIN, Terminal
from perwatt_agent.configfile.printable import escaped_items
from perwatt_aggregator.validity.all import TABLE as REASONS

Item = Mapping[str, Any]
Column = tuple[str, Callable[[Item], str]]

BANNERS = {
    "simulated": "SIMULATED: these figures come from simulated GPUs, not from a real machine.",
    "replay": "REPLAYED: these figures come from a recording, not from the present.",
}
"""Line above any answer with a figure of this provenance."""

ABSENT = "-"


def answer_text(
    topic: str, items: Sequence[Item], names: Sequence[str] = (), terminal: Terminal = PLAIN
) -> str:
    """
    The answer of `/v1/<topic>` as a table, followed by the meaning of its reasons.

    *names* are the columns to show: titles, or paths of fields. By default those of the topic, as far as they
    fit the *terminal*. Raises CommandError for one that there is not.
    """
    if not items:
        return "no data yet"
    items = escaped_items(items)
    if topic == "ledger":
        entries = [entry for item in items for _, entry in _entries(item["tree"])]
        return "\n".join([*_banners(items), *map(tree_text, items), *_reason_lines([*items, *entries])])
    columns = list(COLUMNS[topic])
    dimensions = list(dict.fromkeys(name for item in items for name in item.get("group", ())))
    columns = [(name, _fact("group", name)) for name in dimensions] + columns
    if names:
        columns = [_chosen(name, columns, items) for name in names]
    rows = [[read(item) for _, read in columns] for item in items]
    titles = [title for title, _ in columns]
    hidden = [] if names else too_wide(titles, rows, titles[: len(dimensions) + 2], terminal)
    kept = [place for place, title in enumerate(titles) if title not in hidden]
    rows = [[row[place] for place in kept] for row in rows]
    table = aligned([titles[place] for place in kept], rows, terminal)
    note = f"hidden to fit {terminal.width} characters: {', '.join(hidden)} (--columns shows them)"
    return "\n".join([*_banners(items), table, *([note] if hidden else []), *_reason_lines(items)])


def _chosen(name: str, columns: Sequence[Column], items: Sequence[Item]) -> Column:
    """The column with this title, or of the field at this path."""
    for title, read in columns:
        if title == name:
            return title, read
    path = name.split(".")
    if any(_has(item, path) for item in items):
        return name, _fact(*path)
    titles = ", ".join(title for title, _ in columns)
    raise CommandError(f"no column {name!r}; choose from {titles}, or from the fields that --json shows")


def _has(item: Any, path: Sequence[str]) -> bool:
    for name in path:
        if not isinstance(item, Mapping) or name not in item:
            return False
        item = item[name]
    return True


def tree_text(item: Item) -> str:
    """One tree of the ledger, indented by depth, with the columns of each entry."""
    group = ", ".join(f"{name} {value}" for name, value in item["group"].items()) or "all"
    head = f"{group}: {_text(item['energy_joules'])} J at {item['boundary']}, {_window(item)}"
    verdict = "valid" if item["valid"] else f"not valid: {_text(item['reasons'])}"
    throttled = f", throttled s {_text(item['throttled_seconds'])}" if item["throttled_seconds"] else ""
    priced = [(item["currency"] or "cost", _fact("cost")), ("g CO2e", _fact("grams_co2e"))]
    columns = [*_TREE_COLUMNS[:3], *priced, *_TREE_COLUMNS[3:]]
    rows = [
        ["  " * depth + entry["name"], *(read(entry) for _, read in columns)]
        for depth, entry in _entries(item["tree"])
    ]
    return f"{head}, {verdict}{throttled}\n{aligned(['', *(title for title, _ in columns)], rows)}\n"


def _entries(entry: Item, depth: int = 0) -> Iterator[tuple[int, Item]]:
    """An entry and the entries below it, each with its depth; below an unknown entry there is nothing."""
    yield depth, entry
    if _is_known(entry):
        for child in entry["children"]:
            yield from _entries(child, depth + 1)


def _is_known(entry: Item) -> bool:
    return entry["energy_joules"] is not None or any(map(_is_known, entry["children"]))


def significant(value: float) -> str:
    """At most three significant digits, and no exponent."""
    return f"{Decimal(f'{value:.3g}'):f}"


def _reason_lines(items: Sequence[Item]) -> Iterator[str]:
    named = {reason for item in items for reason in _reasons(item)}
    for reason in REASONS:
        if reason.name in named:
            yield f"{reason.name}: {reason.meaning} {reason.cure}"


def _reasons(item: Item) -> Iterator[str]:
    """The reasons of an item, and of the parts of a chain."""
    for part in (item, *item.get("steps", ()), *item.get("links", ())):
        yield from part.get("reasons", ())


def _banners(items: Sequence[Item]) -> Iterator[str]:
    for provenance, banner in BANNERS.items():
        if any(provenance in (item.get("backend"), *item.get("provenance", ())) for item in items):
            yield banner


def _fact(*path: str) -> Callable[[Item], str]:
    """Column with the value at a path of keys."""

    def read(item: Item) -> str:
        value: Any = item
        for name in path:
            value = value.get(name) if isinstance(value, Mapping) else None
        return _text(value)

    return read


def _text(value: object) -> str:
    """Text of a value for a cell; `-` where it is absent or empty."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, (int, float)):
        return significant(value)
    if isinstance(value, Mapping):
        return ",".join(f"{name}:{_text(count)}" for name, count in value.items() if count) or ABSENT
    if isinstance(value, (list, tuple)):
        return ",".join(map(_text, value)) or ABSENT
    return ABSENT if value is None else str(value)


def _window(item: Item) -> str:
    window = item.get("window")
    if window is None:
        return ABSENT
    return f"{significant(window['seconds'])}s to {window['end'].partition('T')[2]}"


def _meters(item: Item) -> str:
    """The facility's meters and rates, each with the state of its last reading."""
    states = {None: "not read yet", True: "up"}
    shown = (f"{one['meter']}:{states.get(one['up'], one['failure'])}" for one in item["meters"])
    return ",".join(shown) or ABSENT


def _validity(item: Item) -> str:
    """Whether the figure is valid; while its first window fills, when it will be."""
    seconds = item.get("first_figure_seconds")
    return _text(item["valid"]) if seconds is None else f"in about {seconds:.0f} s"


def _percent(name: str) -> Callable[[Item], str]:
    return lambda item: ABSENT if item[name] is None else significant(100.0 * item[name])


def _of_part(kind: str, name: str, read: Callable[[Item], str]) -> Callable[[Item], str]:
    """Column with a value of one step or link of a chain."""
    return lambda item: next(read(part) for part in item[kind] if part["name"] == name)


def _tera(part: Item) -> str:
    flops = part["flops_per_second"]
    return ABSENT if flops is None else significant(flops / 1e12)


_TREE_COLUMNS: Sequence[Column] = (
    ("J", _fact("energy_joules")),
    ("%", _percent("share_ratio")),
    ("+-%", _percent("relative_uncertainty")),
    ("provenance", _fact("provenance")),
    ("why absent", lambda item: "" if item["energy_joules"] is not None else _text(item["reasons"])),
)
COLUMNS: Mapping[str, Sequence[Column]] = {
    "efficiency": (
        ("boundary", _fact("boundary")),
        ("useful/J", _fact("headline", "per_joule")),
        ("unit", _fact("headline", "unit")),
        ("J/token", _fact("joules_per_token")),
        ("active tokens/J", _fact("tokens_per_joule_active")),
        ("Wh/Mtoken", _fact("watt_hours_per_million_tokens")),
        ("W", _fact("power_watts")),
        ("tokens/s", _fact("output_tokens_per_second")),
        ("PUE", _fact("pue", "ratio")),
        ("window", _window),
        ("coverage", _fact("coverage_ratio")),
        ("explained", _fact("explained_ratio")),
        ("provenance", _fact("provenance")),
        ("valid", _validity),
        ("reasons", _fact("reasons")),
    ),
    "history": (
        ("time", _fact("time")),
        ("boundary", _fact("boundary")),
        ("tokens/J", _fact("tokens_per_joule")),
        ("tokens", _fact("output_tokens")),
        ("J", _fact("energy_joules")),
        ("W", _fact("power_watts")),
        ("cost", _fact("cost")),
        ("g CO2e", _fact("grams_co2e")),
        ("coverage", _fact("coverage_ratio")),
        ("valid", _fact("valid")),
    ),
    "compute": (
        ("GPUs", _fact("gpus_assigned")),
        ("alive", _fact("gpus_alive")),
        ("peak TFLOP/s", _of_part("steps", "peak", _tera)),
        ("at", _fact("precisions")),
        ("alive %", _of_part("steps", "alive", _percent("share_of_peak_ratio"))),
        ("SM active %", _of_part("steps", "sm_active", _percent("share_of_peak_ratio"))),
        ("tensor active %", _of_part("steps", "tensor_active", _percent("share_of_peak_ratio"))),
        ("MFU %", _percent("model_flops_utilization_ratio")),
        ("PCIe %", _of_part("links", "pcie", _percent("share_of_rate_ratio"))),
        ("NVLink %", _of_part("links", "nvlink", _percent("share_of_rate_ratio"))),
        ("window", _window),
        ("coverage", _fact("coverage_ratio")),
        ("provenance", _fact("provenance")),
        ("MFU valid", _fact("valid")),
        ("reasons", lambda item: _text(list(dict.fromkeys(_reasons(item))))),
    ),
    "capacity": (
        ("boundary", _fact("boundary")),
        ("tokens/s", _fact("output_tokens_per_second")),
        ("tokens/day", _fact("per_day")),
        ("tokens/J", _fact("tokens_per_joule")),
        ("W", _fact("power_watts")),
        ("max W", _fact("max_power_watts")),
        ("tokens/s at budget", _fact("at_budget")),
        ("bound by", _fact("bound_by")),
        ("headroom kW", _fact("headroom_kw")),
        ("window", _window),
        ("valid", _fact("valid")),
        ("reasons", _fact("reasons")),
    ),
    "facility": (
        ("facility", _fact("facility")),
        ("PUE", _fact("pue", "ratio")),
        ("kind", _fact("pue", "kind")),
        ("PUE age s", _fact("pue", "age_seconds")),
        ("node J", _fact("node_energy_joules")),
        ("overhead J", _fact("overhead_joules")),
        ("facility J", _fact("facility_energy_joules")),
        ("per kWh", _fact("price", "per_kwh")),
        ("currency", _fact("price", "currency")),
        ("g CO2e/kWh", _fact("carbon", "grams_co2e_per_kwh")),
        ("CO2e", _fact("carbon", "kind")),
        ("meters", _meters),
        ("window", _window),
        ("coverage", _fact("coverage_ratio")),
        ("provenance", _fact("provenance")),
        ("valid", _fact("valid")),
        ("reasons", _fact("reasons")),
    ),
    "nodes": (
        ("node", _fact("node")),
        ("up", _fact("up")),
        ("backend", _fact("backend")),
        ("GPUs", _fact("gpus")),
        ("workloads", _fact("workloads")),
        ("GPU W", _fact("gpu_power_watts")),
        ("node W", _fact("node_power_watts")),
        ("window", _window),
        ("age s", _fact("age_seconds")),
        ("failure", _fact("failure")),
    ),
    "gpus": (
        ("gpu", _fact("gpu")),
        ("index", _fact("index")),
        ("name", _fact("name")),
        ("node", _fact("node")),
        ("state", _fact("state")),
        ("W", _fact("power_watts")),
        ("utilization", _fact("utilization_ratio")),
        ("J", _fact("energy_joules")),
        ("unattributed J", _fact("unattributed_joules")),
        ("window", _window),
        ("provenance", _fact("provenance")),
        ("workloads", _fact("workloads")),
    ),
    "workloads": (
        ("workload", _fact("workload")),
        ("node", _fact("node")),
        ("model", _fact("model")),
        ("group", _fact("group")),
        ("up", _fact("up")),
        ("tokens/s", _fact("output_tokens_per_second")),
        ("W", _fact("power_watts")),
        ("active J", _fact("energy_active_joules")),
        ("idle J", _fact("energy_idle_joules")),
        ("loading J", _fact("energy_loading_joules")),
        ("window", _window),
        ("provenance", _fact("provenance")),
        ("reasons", _fact("reasons")),
    ),
}
