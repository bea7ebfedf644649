"""What is known of one engine that was found, from its first sight to its end."""

import logging

from perwatt_agent.discovery.discovered_workload import DiscoveredWorkload
from perwatt_agent.discovery.probe import DiscoveredReader, Page
from perwatt_agent.discovery.search import DiscoveredEngine

logger = logging.getLogger(__name__)


class TrackedEngine:
    """
    One engine. It is a `workload` while it loads and while it has a page.

    `ask_at` is the monotonic second before which it is not asked for a page again.
    """

    def __init__(self, found: DiscoveredEngine, reader: DiscoveredReader, seen_at: float) -> None:
        self.found = found
        self.reader = reader
        self.seen_at = seen_at
        self.ask_at = seen_at
        self.workload: DiscoveredWorkload | None = None
        self._refusal = ""

    @property
    def page(self) -> Page | None:
        return self.reader.page

    @property
    def port(self) -> int:
        """Where its page is, or is expected."""
        return self.found.expected_port if self.page is None else self.page.port

    def refuse(self, why: str) -> None:
        """Say, once, why joules of this engine have no tokens."""
        if why != self._refusal:
            logger.warning(
                "%s (process %d) gives no tokens: %s; `perwatt doctor` shows the map, and "
                "engines.endpoints can name its page",
                self.found.program,
                self.found.process.pid,
                why,
            )
        self._refusal = why

    def leave_alone(self, why: str) -> None:
        """Say, once, that it is the configuration's business."""
        if why != self._refusal:
            logger.info("%s (process %d): %s", self.found.program, self.found.process.pid, why)
        self._refusal = why

    def accept(self, page: Page) -> None:
        """Take *page* as its own, from now on."""
        self.reader.page = page
        self._refusal = ""
        logger.info("%s (process %d) is read at %s", self.found.program, self.found.process.pid, page.url)
