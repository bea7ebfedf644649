"""Tracked engine: the state of one discovered engine from its first appearance to its end."""

import logging

from perwatt_agent.discovery.discovered_workload import DiscoveredWorkload
from perwatt_agent.discovery.probe import DiscoveredReader, ProbedPage
from perwatt_agent.discovery.search import DiscoveredEngine

logger = logging.getLogger(__name__)


class TrackedEngine:
    """
    One engine. It has a `workload` while it loads and while it has a page.

    It is not probed again before the monotonic second `probe_at`.
    """

    def __init__(self, found: DiscoveredEngine, reader: DiscoveredReader, seen_at: float) -> None:
        self.found = found
        self.reader = reader
        self.seen_at = seen_at
        self.probe_at = seen_at
        self.workload: DiscoveredWorkload | None = None
        self._rejection = ""

    @property
    def page(self) -> ProbedPage | None:
        return self.reader.page

    @property
    def port(self) -> int:
        """The port of its page, or the port where the page is expected."""
        return self.found.expected_port if self.page is None else self.page.port

    def reject(self, why: str) -> None:
        """Log, once, why the joules of this engine have no tokens."""
        if why != self._rejection:
            logger.warning(
                "%s (process %d) has no tokens: %s; run `perwatt doctor`, or add its page to "
                "engines.endpoints",
                self.found.program,
                self.found.process.pid,
                why,
            )
        self._rejection = why

    def skip(self, why: str) -> None:
        """Log, once, that a configured endpoint takes precedence."""
        if why != self._rejection:
            logger.info("%s (process %d): %s", self.found.program, self.found.process.pid, why)
        self._rejection = why

    def accept(self, page: ProbedPage) -> None:
        """Read *page* from now on."""
        self.reader.page = page
        self._rejection = ""
        logger.info("%s (process %d) is read at %s", self.found.program, self.found.process.pid, page.url)
