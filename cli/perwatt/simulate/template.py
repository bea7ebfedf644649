"""
Templates of simulated pages: the exporter renders each shape of page once, with marks for names and numbers.

Names are filled in once for each layout of a node, numbers in each page.
"""

import re
from collections.abc import Sequence

from msgspec import Struct
from msgspec.structs import replace

from perwatt.simulate.layout import Layout, WorkloadLayout
from perwatt.simulate.node import NodeIdentity
from perwatt.simulate.slot import Life, Totals
from perwatt.simulate.snapshot import snapshot_of
from perwatt_exporter.families.all import ALL
from perwatt_exporter.page.render import Renderer, format_value, page

MAX_SHAPES = 500
"""A shape is a text of some 50 kB."""

_FIRST_MARK = 7e15
"""Numbers that no page has: the place of a number is found by the number that is rendered there."""
_MARK = re.compile(r" (7(?:\.\d+)?e\+15)\n")
_START_MARK = 8e15
_LARGE = 1e6
"""From here on the exporter writes exponents."""

Places = tuple[int, ...]
"""Which number belongs to each place of a text."""
_Workload = tuple[str, tuple[int, ...], bool, bool, bool]
_Shape = tuple[tuple[str, ...], bool, tuple[_Workload, ...]]
"""What decides about a page besides names and numbers."""


class Template(Struct, frozen=True):
    """The page of one node in one layout; `text` is filled by the operator `%`."""

    layout: Layout
    text: str
    places: Places

    def fill(self, numbers: Sequence[float]) -> bytes:
        """The page with these numbers."""
        texts = [repr(number) if number < _LARGE else format_value(number) for number in numbers]
        return (self.text % tuple([texts[place] for place in self.places])).encode()


class Templates:
    """Makes templates, with a cache of the shapes of pages."""

    def __init__(self) -> None:
        self._shapes: dict[_Shape, tuple[str, Places]] = {}

    def template(self, identity: NodeIdentity, layout: Layout, count: int) -> Template:
        """The template of a page with so many numbers."""
        shape = _shape(identity, layout)
        if shape not in self._shapes:
            if len(self._shapes) >= MAX_SHAPES:
                self._shapes.clear()
            self._shapes[shape] = _render(identity, layout, count)
        text, places = self._shapes[shape]
        for mark, name in _names(identity, layout):
            text = text.replace(mark, name)
        return Template(layout, text, places)


def _shape(identity: NodeIdentity, layout: Layout) -> _Shape:
    workloads = tuple(
        (one.life.model.name, one.gpus, one.is_up, one.is_counted, one.holds) for one in layout.workloads
    )
    return layout.gpus, identity.has_meter, workloads


def _names(identity: NodeIdentity, layout: Layout) -> list[tuple[str, str]]:
    """The marks of names in the text of a shape, with the names of one node."""
    pods = [(_pod_mark(number), one.life.pod) for number, one in enumerate(layout.workloads)]
    start = (f"{_START_MARK:.3f}", f"{layout.agent_start:.3f}")
    return [("@node@", identity.name), ("@agent@", identity.agent), start, *pods]


def _pod_mark(number: int) -> str:
    return f"@pod{number}@"


def _render(identity: NodeIdentity, layout: Layout, count: int) -> tuple[str, Places]:
    marked = Layout(
        _START_MARK,
        layout.gpus,
        tuple(_marked(number, one) for number, one in enumerate(layout.workloads)),
    )
    nobody = replace(identity, name="@node@", agent="@agent@")
    marks = [_FIRST_MARK + number for number in range(count)]
    by_text = {format_value(mark): number for number, mark in enumerate(marks)}
    text = page(Renderer(ALL).snapshot(snapshot_of(nobody, marked, marks), "text"), "text").decode()
    places: list[int] = []

    def fill(found: re.Match[str]) -> str:
        places.append(by_text[found[1]])
        return " %s\n"

    text = _MARK.sub(fill, text.replace("%", "%%"))
    return text, tuple(places)


def _marked(number: int, layout: WorkloadLayout) -> WorkloadLayout:
    life, pod = layout.life, _pod_mark(number)
    # A workload is named after its pod, so that one mark serves both.
    name = life.name.replace(life.pod, pod)
    return replace(layout, life=Life(name, life.model, 0.0, Totals(), life.namespace, pod))
