"""The catalog of engines: one row makes an engine known, and nothing else in the packages names one."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.engines import engine_trees
from support.engines.engine_pages import page_server
from support.processes.process_trees import running

from pages.engines import document
from perwatt_agent.discovery.process_table import ProcessTable
from perwatt_agent.discovery.search import search
from perwatt_agent.engine import kinds
from perwatt_agent.engine.catalog import ENGINES, engine_names
from perwatt_agent.engine.engine_page_reader import EnginePageReader
from perwatt_agent.engine.kind import EngineKind, Pick
from perwatt_agent.engine.launch import Launch

ROOT = Path(__file__).parents[3]
ROWS = Path(kinds.__file__).parent
PACKAGES = [ROOT / "agent", ROOT / "exporter", ROOT / "aggregator", ROOT / "cli"]

MAY_NAME_ENGINES = {
    "agent/perwatt_agent/gpu/simulated/": "the simulated engine shows a real engine's metric names",
    "cli/perwatt/simulate/catalog.py": "the simulated fleet runs engines of several kinds",
    "agent/perwatt_agent/discovery/pod_list.py": "annotations that a Kubernetes platform defines",
}

TOY = EngineKind(
    name="toy",
    title="Toy engine",
    known_from="this test",
    counts_at="live",
    port=8000,
    caveats=("It serves nobody.",),
    launch=Launch(serves=r"my-server serve\b", default_port=8000),
    recognised_by=frozenset({"toy_generated_total"}),
    output_tokens=(Pick("toy_generated_total"),),
)
WITH_TOY = (*ENGINES, TOY)


class TestToyEngine:
    """A row, passed to each reader of rows, is all that makes an engine known."""

    async def test_page(self) -> None:
        """Its page is recognised and counted."""
        async with page_server(b"toy_generated_total 7\n") as server:
            reader = EnginePageReader(server.url, kinds=WITH_TOY)
            counts = await reader.read()

        assert ("toy", 7) == (reader.engine, counts.output_tokens)

    def test_launch(self, tmp_path: Path) -> None:
        """Its processes are recognised by their command line, and its socket by the port that it names."""
        with running(tmp_path, engine_trees.own()) as tree:
            (found,) = search(ProcessTable(), {"GPU-0": (tree.pid("worker"),)}, WITH_TOY).engines

            assert ("toy", ("GPU-0",)) == (found.kind.name, found.gpus)
            assert [tree.port("api")] == [one.listener.port for one in found.candidates]

    def test_document(self) -> None:
        """Its chapter in docs/engines.md is written from the row."""
        chapter = "## Toy engine\n\n- It serves nobody.\n\n| what | series |\n| --- | --- |\n"

        assert chapter + "| output | `toy_generated_total` |\n" in document(WITH_TOY)


@pytest.mark.parametrize("file", sorted(ROWS.glob("[a-z]*.py")), ids=lambda file: file.stem)
def test_every_file_of_rows(file: Path) -> None:
    """A file beside the other rows is in the catalog, under the name of its engine, without registration."""
    assert file.stem in {kind.name for kind in ENGINES}


def test_recognised_by_its_own() -> None:
    """No two engines share a metric that recognises them: order matters only for a page with two engines."""
    names = [name for kind in ENGINES for name in kind.recognised_by if not kind.also]

    assert len(names) == len(set(names))


@pytest.mark.slow
def test_named_in_its_row_only() -> None:
    """Code outside the rows names no engine; docstrings and comments may, as examples."""
    name = re.compile(
        rf"(?<![a-z0-9])({'|'.join(map(re.escape, engine_names()))})(?![a-z0-9])", re.IGNORECASE
    )
    found = {
        str(file.relative_to(ROOT)): sorted(words)
        for package in PACKAGES
        for file in package.rglob("*.py")
        if ROWS not in file.parents and (words := {word for word in _words(file) if name.search(word)})
    }

    assert {} == {
        file: words for file, words in found.items() if not file.startswith(tuple(MAY_NAME_ENGINES))
    }


def _words(file: Path) -> Iterator[str]:
    """Every name and every text in a file's code, docstrings left out."""
    tree = ast.parse(file.read_text(encoding="utf-8"))
    docstrings = {
        id(node.body[0].value)
        for node in ast.walk(tree)
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef)
        and node.body
        and isinstance(node.body[0], ast.Expr)
    }
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in docstrings:
            yield node.value
        elif isinstance(node, ast.Name):
            yield node.id
        elif isinstance(node, ast.Attribute):
            yield node.attr
        elif isinstance(node, ast.ImportFrom):
            yield from (node.module or "", *(alias.name for alias in node.names))
        elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            yield node.name
