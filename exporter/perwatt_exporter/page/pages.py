"""Cache of metrics pages: the latest snapshot is rendered at most once per representation."""

from collections.abc import Callable, Iterable, Sequence
from typing import Any, Generic, TypeAlias, TypeVar

from isal import isal_zlib

from perwatt_exporter.http.negotiate import Encoding, Format
from perwatt_exporter.page.family import Collected, Family
from perwatt_exporter.page.render import Renderer, page

S = TypeVar("S")

Representation: TypeAlias = tuple[Format, Encoding]

GZIP_LEVEL = 1
_GZIP_FORMAT = 31  # zlib's way to ask for gzip's header and its largest window


class Pages(Generic[S]):
    """
    Bodies of the page of whatever `latest` gives, kept as long as it gives the same snapshot.

    `own` yields what is shown besides the snapshot's families; it is asked once per snapshot.
    """

    def __init__(
        self,
        latest: Callable[[], S],
        families: Sequence[Family[S]],
        own: Callable[[], Iterable[Collected[Any]]] = tuple,
    ) -> None:
        self._latest = latest
        self._own = own
        self._renderer: Renderer[S] = Renderer(families)
        self._snapshot: S | None = None
        self._collected: tuple[Collected[Any], ...] = ()
        self._bodies: dict[Representation, bytes] = {}
        self._asked: set[Representation] = set()
        self._asked_before: set[Representation] = set()

    def body(self, form: Format, encoding: Encoding) -> bytes:
        """Return the page of the latest snapshot in one representation."""
        self._asked.add((form, encoding))
        return self._made(form, encoding)

    def prepare(self) -> None:
        """
        Make what was asked for of each of the last two snapshots; to be called whenever there is a new one.

        Somebody who asks each second does not wait for a page then, and one who asks each 15 s costs nothing.
        """
        wanted = self._asked & self._asked_before
        self._asked_before, self._asked = self._asked, set()
        for form, encoding in wanted:
            self._made(form, encoding)

    def _made(self, form: Format, encoding: Encoding) -> bytes:
        snapshot = self._latest()
        if snapshot is not self._snapshot:
            self._snapshot = snapshot
            self._collected = tuple((family, tuple(samples)) for family, samples in self._own())
            self._bodies = {}
        body = self._bodies.get((form, encoding))
        if body is None:
            body = self._bodies[form, encoding] = self._encoded(snapshot, form, encoding)
        return body

    def _encoded(self, snapshot: S, form: Format, encoding: Encoding) -> bytes:
        # What is sent compressed is not kept plain as well: hardly anybody asks for both.
        shown = self._renderer.snapshot(snapshot, form)
        plain = page([*shown, *self._renderer.collected(self._collected, form)], form)
        return plain if encoding == "identity" else isal_zlib.compress(plain, GZIP_LEVEL, _GZIP_FORMAT)
