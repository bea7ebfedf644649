"""FrontendDeduplicator beside the engines whose work they pass on: the same tokens, to be counted once."""

from collections.abc import Sequence

from msgspec.structs import replace

from perwatt_agent.engine.catalog import is_frontend
from perwatt_agent.engine.engine_counter import load_only
from perwatt_agent.facts.readings import EngineSample


class FrontendDeduplicator:
    """
    Let a frontend count by itself only.

    Where an engine's own page holds one of the GPUs that a frontend holds too, or the frontend holds
    none, its tokens and requests are those of engines that count them, here or on another node.
    """

    def __init__(self) -> None:
        self._held: dict[str, frozenset[str]] = {}

    def uncounted(self, samples: Sequence[EngineSample]) -> list[EngineSample]:
        """Return *samples*, those of frontends without what others count."""
        for sample in samples:
            if sample.ended:
                self._held.pop(sample.info.workload, None)
            elif sample.counts is not None and not is_frontend(sample.info.engine):
                self._held[sample.info.workload] = frozenset(sample.gpus)
        engines = frozenset[str]().union(*self._held.values())
        return [self._uncounted(sample, engines) for sample in samples]

    def _uncounted(self, sample: EngineSample, engines: frozenset[str]) -> EngineSample:
        if sample.counts is None or not is_frontend(sample.info.engine):
            return sample
        if sample.gpus and engines.isdisjoint(sample.gpus):
            return sample
        return replace(sample, counts=load_only(sample.counts))
