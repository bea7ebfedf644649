"""`perwatt query`: an answer of the aggregator, or of a recording, printed as a table or as JSON."""

import argparse
import json
import os
import sys
import urllib.error
import urllib.request
from collections.abc import Iterable, Mapping
from datetime import datetime, timezone
from http.client import HTTPException
from typing import Any
from urllib.parse import urlencode

from perwatt.errors import CommandError
from perwatt.query.arguments import FILTERS
from perwatt.query.csv_text import csv_text
from perwatt.query.watch import watch
from perwatt.tables import answer_text
from perwatt.terminal import Terminal
from perwatt_agent.configfile.printable import escaped_json
from perwatt_agent.configfile.value_kinds import show_duration

BY_GROUPS = ("efficiency", "ledger", "compute", "capacity", "history")
"""Topics whose items are groups."""
_OF_ITEMS = frozenset(("provenance", "reasons"))
"""Lists of a history's item that are not one value for each step."""
MAX_ANSWER_BYTES = 64 * 1024 * 1024
TIMEOUT_SECONDS = 10.0


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    """Follows no redirect: the figures of a host that nobody named would pass for those of --url."""

    def redirect_request(self, *_: object) -> None:
        return None


def run_query(arguments: argparse.Namespace) -> int:
    """Print the answer. Figures that are not valid are an answer too: the exit code is 0."""
    if arguments.watch is not None:
        return watch(lambda: _shown(arguments), arguments.watch, sys.stdout)
    print(_shown(arguments))
    return 0


def _shown(arguments: argparse.Namespace) -> str:
    """The answer in the form that is asked for."""
    answer = _from_recording(arguments) if arguments.recording else _from_aggregator(arguments)
    columns = tuple(arguments.columns.split(",")) if arguments.columns else ()
    if arguments.json:
        return escaped_json(answer, indent=2)
    if arguments.topic == "history":
        answer = {**answer, "items": by_step(answer)}
    if arguments.csv:
        return csv_text(answer["items"], columns)
    items = since_first(answer["items"]) if arguments.topic == "history" else answer["items"]
    return answer_text(arguments.topic, items, columns, Terminal.of(sys.stdout, os.environ))


def by_step(answer: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The items of a history, one for each step of each."""
    return [
        {
            "time": time,
            **{
                name: value[index] if isinstance(value, list) and name not in _OF_ITEMS else value
                for name, value in item.items()
            },
        }
        for item in answer["items"]
        for index, time in enumerate(answer["times"])
    ]


def since_first(rows: Iterable[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """The rows of a table without those before the first reading of their item: it may be new."""
    seen: set[tuple[str, str]] = set()
    found = []
    for row in rows:
        item = (str(row["group"]), row["boundary"])
        if row["coverage_ratio"]:
            seen.add(item)
        if item in seen:
            found.append(row)
    return found


def _instant(unix_seconds: float | None) -> str | None:
    if unix_seconds is None:
        return None
    return datetime.fromtimestamp(unix_seconds, timezone.utc).isoformat().replace("+00:00", "Z")


def usage_error(arguments: argparse.Namespace) -> str:
    """Message for a wrong combination of arguments; empty when it is right."""
    of_past = () if arguments.topic == "history" else ("from", "to")
    only_offline = [flag for flag in (*of_past, "pue", "tokens_per_second") if _given(arguments, flag)]
    online = ("url", "window", "by", "sort", "limit", "kw", "watch", "where", "step", *FILTERS)
    only_online = [flag for flag in online if _given(arguments, flag)]
    only_efficiency = [flag for flag in ("boundary", "recording") if _given(arguments, flag)]
    if arguments.step is not None and arguments.topic != "history":
        return "--step works only with `query history`"
    if arguments.topic == "history" and arguments.window is not None:
        return "--window does not work with `query history`; use --from and --to"
    if arguments.topic == "history":
        only_efficiency = [flag for flag in only_efficiency if flag != "boundary"]
    if arguments.topic != "efficiency" and only_efficiency:
        return f"{_flag(only_efficiency[0])} works only with `query efficiency`"
    if arguments.by is not None and arguments.topic not in BY_GROUPS:
        return f"--by works only with `query {'`, `query '.join(BY_GROUPS)}`"
    if arguments.kw is not None and arguments.topic != "capacity":
        return "--kw works only with `query capacity`"
    if arguments.columns and (arguments.json or (arguments.topic == "ledger" and not arguments.csv)):
        return "--columns works with tables and with --csv"
    if arguments.recording and only_online:
        return f"{_flag(only_online[0])} does not work with --recording"
    if not arguments.recording and only_offline:
        return f"{_flag(only_offline[0])} works only with --recording"
    return ""


def _given(arguments: argparse.Namespace, flag: str) -> bool:
    return getattr(arguments, flag) is not None


def _flag(name: str) -> str:
    return "--" + name.replace("_", "-")


def _from_aggregator(arguments: argparse.Namespace) -> dict[str, Any]:
    base = arguments.url or "http://127.0.0.1:9837"
    window = show_duration(arguments.window) if arguments.window else None
    asked = {"window": window, "by": arguments.by, "boundary": arguments.boundary}
    asked |= {name: getattr(arguments, name) for name in ("sort", "limit", "kw", *FILTERS)}
    if arguments.topic == "history":
        asked |= {name: _instant(getattr(arguments, name)) for name in ("from", "to")}
        asked["step"] = arguments.step
    asked |= dict(arguments.where or ())
    # Empty is not absent: no grouping in place of the default one, and a filter for what has no value.
    given = {name: one for name, one in asked.items() if one is not None}
    parameters = urlencode(given, safe=",")
    url = f"{base.rstrip('/')}/v1/{arguments.topic}" + (f"?{parameters}" if parameters else "")
    return _answer_of(_fetch(url, base), base)


def _fetch(url: str, base: str) -> bytes:
    # Directly to the aggregator: a proxy for the internet rarely has a route to it.
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}), _NoRedirect)
    try:
        with opener.open(url, timeout=TIMEOUT_SECONDS) as response:
            body: bytes = response.read(MAX_ANSWER_BYTES + 1)
    except urllib.error.HTTPError as error:
        with error:
            if 300 <= error.code < 400:
                target = error.headers.get("Location", "elsewhere")
                raise CommandError(
                    f"{base} redirects to {target}, which is not followed; "
                    "set --url to the aggregator's address"
                ) from None
            raise CommandError(f"{base} refused: {_problem(error)}") from None
    except (OSError, HTTPException, ValueError) as error:
        reason = getattr(error, "reason", None) or error
        raise CommandError(
            f"cannot reach {base}: {getattr(reason, 'strerror', None) or reason}; "
            "is `perwatt aggregator` or `perwatt up` running there? (--url)"
        ) from None
    if len(body) > MAX_ANSWER_BYTES:
        raise CommandError(
            f"{base} answered with more than {MAX_ANSWER_BYTES} bytes; is --url the aggregator's?"
        )
    return body


def _problem(error: urllib.error.HTTPError) -> str:
    """The message of an `application/problem+json` answer, or else the HTTP status."""
    try:
        problem = json.loads(error.read(MAX_ANSWER_BYTES))
        message = problem.get("detail") or problem.get("title")
    except (OSError, HTTPException, ValueError, AttributeError):
        message = None
    return " ".join(str(message or f"HTTP {error.code} {error.reason}").split())


def _answer_of(body: bytes, base: str) -> dict[str, Any]:
    try:
        answer = json.loads(body)
        if answer["schema_version"] == 1 and isinstance(answer["items"], list):
            return dict(answer)
    except (ValueError, KeyError, TypeError):
        pass
    raise CommandError(f"{base} did not answer like an aggregator; is --url the aggregator's?")


def _from_recording(arguments: argparse.Namespace) -> dict[str, Any]:
    from perwatt.query.offline import efficiency_of_recording

    start, end = getattr(arguments, "from"), arguments.to
    items = efficiency_of_recording(
        arguments.recording,
        start_unix=start,
        end_unix=end,
        pue=arguments.pue,
        tokens_per_second=arguments.tokens_per_second,
    )
    wanted = arguments.boundary.split(",") if arguments.boundary else None
    kept = [item for item in items if wanted is None or item["boundary"] in wanted]
    return {"schema_version": 1, "by": [], "items": kept}
