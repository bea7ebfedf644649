"""A family whose basis stays is not read again; nothing that it shows may change without its basis."""

from collections.abc import Iterator
from typing import Any

import pytest
from msgspec import Struct
from msgspec.structs import asdict, replace
from support.exposition.samples import SAMPLES

from perwatt_agent.facts.snapshot import Snapshot
from perwatt_exporter.families.all import ALL
from perwatt_exporter.page.family import Family, Sample
from perwatt_exporter.page.render import Renderer, page


def variants(value: Any) -> Iterator[Any]:
    """*value* with one of its facts changed or gone; all others are the very same objects."""
    if isinstance(value, Struct):
        for name, fact in asdict(value).items():
            yield from (replace(value, **{name: other}) for other in variants(fact))
        yield None
    elif isinstance(value, tuple):
        for index, item in enumerate(value):
            yield from ((*value[:index], other, *value[index + 1 :]) for other in variants(item))
        yield value[1:]
    elif isinstance(value, dict):
        for key, item in value.items():
            yield from (value | {key: other} for other in variants(item))
    elif value is not None:
        yield another(value)


def another(value: bool | float | str) -> bool | float | str:
    if isinstance(value, bool):
        return not value
    if isinstance(value, int | float):
        return value + 1
    return {"ok": "lost", "lost": "ok"}.get(value, f"{value}x")


def shown(renderer: Renderer[Snapshot], snapshot: Snapshot) -> str:
    return page(renderer.snapshot(snapshot, "text"), "text").decode()


@pytest.mark.slow
@pytest.mark.parametrize("name", SAMPLES)
def test_every_change_shows(name: str) -> None:
    """Whatever one fact of a snapshot turns into, a page after it is the page that a new agent would show."""
    before = SAMPLES[name]()
    renderer: Renderer[Snapshot] = Renderer(ALL)
    count = 0
    for after in variants(before):
        try:
            expected = shown(Renderer(ALL), after)
        except (AttributeError, TypeError, KeyError, ValueError, AssertionError):
            continue  # no snapshot can be like this: a fact that always is there is gone, or a state is none
        shown(renderer, before)
        assert expected == shown(renderer, after)
        count += 1

    assert count > 5


def test_read_only_when_the_basis_changes() -> None:
    """As long as its basis is made of the same objects, a family is not read, and shows what it showed."""
    reads = []

    def read(snapshot: tuple[object, ...]) -> Iterator[Sample]:
        reads.append(snapshot)
        yield (), len(reads)

    family = Family("perwatt_test", "gauge", "A test.", (), read, basis=lambda snapshot: snapshot)
    renderer: Renderer[tuple[object, ...]] = Renderer([family])
    one, other = [1], [1]
    pages = [page(renderer.snapshot((fact,), "text"), "text") for fact in (one, one, other, other, one)]

    assert [1, 1, 2, 2, 3] == [float(text.splitlines()[-1].split()[-1]) for text in pages]
    assert 3 == len(reads)
