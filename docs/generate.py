"""
Write the documents that are made from the code; with `--check`, only say which of them are stale.

A further document is a file in pages/ and a line in DOCUMENTS.
"""

import sys
from collections.abc import Callable
from pathlib import Path

# The tables of the rules are beside them.
sys.path.append(str(Path(__file__).parents[1] / "dashboards" / "prometheus"))

from pages import (
    aggregator_metrics,
    compute,
    configuration,
    engines,
    failures,
    health,
    http_api,
    meters,
    metrics,
    runbook,
    validity,
)

DOCS = Path(__file__).parent
DOCUMENTS: dict[str, Callable[[], str]] = {
    "metrics.md": metrics.document,
    "aggregator-metrics.md": aggregator_metrics.document,
    "http-api.md": http_api.document,
    "engines.md": engines.document,
    "failures.md": failures.document,
    "configuration.md": configuration.document,
    "validity.md": validity.document,
    "compute.md": compute.document,
    "health.md": health.document,
    "meters.md": meters.document,
    "runbook.md": runbook.document,
}


def main(arguments: list[str]) -> int:
    if arguments not in ([], ["--check"]):
        print(f"usage: {Path(__file__).name} [--check]", file=sys.stderr)  # noqa: T201 - a command prints
        return 2
    stale = [name for name, write in DOCUMENTS.items() if _read(DOCS / name) != write()]
    if not arguments:
        for name in stale:
            (DOCS / name).write_text(DOCUMENTS[name]())
        return 0
    for name in stale:
        print(f"docs/{name} is stale: run `make docs`", file=sys.stderr)  # noqa: T201 - a command prints
    return 1 if stale else 0


def _read(path: Path) -> str | None:
    return path.read_text() if path.exists() else None


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
