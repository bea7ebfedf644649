"""CSV of an answer: a row for each item, a column for each of its fields, in full precision."""

import csv
import io
import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from perwatt_agent.configfile.printable import escaped_items


def csv_text(items: Sequence[Mapping[str, Any]], columns: Sequence[str] = ()) -> str:
    """
    The *items* with a header; fields inside of fields have paths such as `tokens.output`.

    Lists are joined by semicolons, null is empty. With *columns*, only these.
    """
    rows = [dict(_flat(escaped_items(item))) for item in items]
    header = list(columns) or list(dict.fromkeys(name for row in rows for name in row))
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(header)
    writer.writerows([_cell(row.get(name)) for name in header] for row in rows)
    return out.getvalue().rstrip("\n")


def _flat(item: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for name, value in item.items():
        if isinstance(value, Mapping) and value:
            yield from _flat(value, f"{prefix}{name}.")
        else:
            yield prefix + name, value


def _cell(value: Any) -> str:
    if value is None or value == {}:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, list):
        plain = all(not isinstance(one, (Mapping, list)) for one in value)
        return ";".join(map(str, value)) if plain else json.dumps(value, ensure_ascii=False)
    # A spreadsheet takes a text that starts so for a formula.
    if isinstance(value, str) and value.startswith(("=", "+", "-", "@")):
        return f"'{value}"
    return str(value)
