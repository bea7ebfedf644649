"""The cache of rendered pages."""

import gzip
from collections.abc import Iterator

from support.exposition.pages import no_driver

from perwatt_agent.facts.snapshot import Snapshot
from perwatt_exporter.page.family import Collected, Family, Sample
from perwatt_exporter.page.pages import Pages


def timestamp(snapshot: Snapshot) -> Iterator[Sample]:
    yield (), snapshot.unix_seconds


FAMILIES = (Family("perwatt_then_seconds", "gauge", "Then.", (), timestamp),)


class TestPages:
    def test_same_bytes(self) -> None:
        """While the snapshot stays, a scrape gets the very same bytes: nothing is rendered again."""
        snapshot = no_driver()
        pages = Pages(lambda: snapshot, FAMILIES)

        assert pages.body("text", "gzip") is pages.body("text", "gzip")
        assert pages.body("text", "identity") is pages.body("text", "identity")
        assert pages.body("text", "identity") == gzip.decompress(pages.body("text", "gzip"))

    def test_equal_is_not_the_same(self) -> None:
        """A new snapshot is a new page even if it is equal, for the process's own metrics have moved on."""
        calls: list[int] = []

        def own() -> Iterator[Collected[Snapshot]]:
            calls.append(len(calls))
            yield Family("process_calls_total", "counter", "Calls.", (), lambda _: ()), [((), len(calls))]

        shown = no_driver()
        pages = Pages(lambda: shown, FAMILIES, own)
        first = pages.body("text", "identity")
        shown = no_driver()

        assert b"process_calls_total 1.0\n" in first
        assert b"process_calls_total 2.0\n" in pages.body("text", "identity")

    def test_prepared(self) -> None:
        """What was asked for of each of the last two snapshots is made before anybody asks, and only that."""
        made: list[Snapshot] = []

        def own() -> Iterator[Collected[Snapshot]]:
            made.append(shown)
            yield from ()

        shown = no_driver()
        pages = Pages(lambda: shown, FAMILIES, own)
        ready = []
        for asked in (True, True, False, False, True, False, True):
            shown = no_driver()
            pages.prepare()
            ready.append(any(one is shown for one in made))
            if asked:
                pages.body("text", "gzip")

        assert [False, False, True, False, False, False, False] == ready

    def test_prepared_as_it_was_asked_for(self) -> None:
        """Somebody who asks for one representation gets no other one made."""
        shown = no_driver()
        pages = Pages(lambda: shown, FAMILIES)
        for encoding in ("identity", "gzip"):
            pages.prepare()
            pages.body("text", encoding)
            pages.body("openmetrics", "gzip")
        shown = no_driver()
        pages.prepare()

        assert {("openmetrics", "gzip")} == pages._bodies.keys()
