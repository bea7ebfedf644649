"""Jobs that tell of their work, as one feed of the account."""

from collections.abc import Sequence

from perwatt_agent.facts.gpu import GpuInfo
from perwatt_agent.facts.readings import EngineSample, GpuSample
from perwatt_agent.facts.snapshot import CollectorHealth
from perwatt_agent.work.registry import WorkRegistry
from perwatt_agent.work.textfile_poller import TextfilePoller


class WorkFeed:
    """
    The book, and the folder of text files where there is one.

    A report that is refused is its reporter's failure and counted by reason; the collector itself
    fails only with the folder.
    """

    def __init__(self, book: WorkRegistry, textfiles: TextfilePoller | None = None) -> None:
        self._book = book
        self._textfiles = textfiles

    async def run(self) -> None:
        if self._textfiles is not None:
            await self._textfiles.run()

    def drain(self, known: Sequence[GpuInfo], samples: Sequence[GpuSample]) -> list[EngineSample]:
        return self._book.drain(known, samples)

    def health(self) -> CollectorHealth:
        refusals = self._book.refusals
        if self._textfiles is None:
            return CollectorHealth("work", True, self._book.last_taken_unix_seconds, None, refusals)
        return self._textfiles.health(refusals)
