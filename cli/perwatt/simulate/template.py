"""Template of a simulated page: rendered by the exporter once for each layout, then filled with numbers."""

import re
from collections.abc import Sequence

from perwatt.simulate.layout import Layout
from perwatt.simulate.node import NodeIdentity
from perwatt.simulate.snapshot import snapshot_of
from perwatt_exporter.families.all import ALL
from perwatt_exporter.page.render import Renderer, format_value, page

_FIRST_MARK = 7e15
"""Numbers that no page has: the place of a number is found by the number that is rendered there."""
_MARK = re.compile(r" (7(?:\.\d+)?e\+15)\n")
_LARGE = 1e6
"""From here on the exporter writes exponents."""


class Template:
    """The page of one node in one layout."""

    def __init__(self, identity: NodeIdentity, layout: Layout, count: int) -> None:
        self.layout = layout
        marks = [_FIRST_MARK + number for number in range(count)]
        by_text = {format_value(mark): number for number, mark in enumerate(marks)}
        text = page(Renderer(ALL).snapshot(snapshot_of(identity, layout, marks), "text"), "text").decode()
        self._places: list[int] = []

        def fill(found: re.Match[str]) -> str:
            self._places.append(by_text[found[1]])
            return " %s\n"

        self._text = _MARK.sub(fill, text.replace("%", "%%"))

    def fill(self, numbers: Sequence[float]) -> bytes:
        """The page with these numbers."""
        texts = [repr(number) if number < _LARGE else format_value(number) for number in numbers]
        return (self._text % tuple([texts[place] for place in self._places])).encode()
