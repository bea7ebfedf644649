"""Deduplication of tokens that both a frontend and the engines behind it count."""

from collections.abc import Sequence

from msgspec.structs import replace

from perwatt_agent.engine.catalog import is_frontend
from perwatt_agent.engine.engine_counter import load_only
from perwatt_agent.facts.readings import EngineSample


class FrontendDeduplicator:
    """
    Removes the tokens and requests of a frontend whose engines have pages of their own.

    That is so if an engine with a page holds one of the frontend's GPUs, or if the frontend holds no GPU: the
    engines then count the same tokens, on this node or another.
    """

    def __init__(self) -> None:
        self._held: dict[str, frozenset[str]] = {}

    def deduplicate(self, samples: Sequence[EngineSample]) -> list[EngineSample]:
        """Return *samples*, with those of frontends reduced to their load where engines count."""
        for sample in samples:
            if sample.ended:
                self._held.pop(sample.info.workload, None)
            elif sample.counts is not None and not is_frontend(sample.info.engine):
                self._held[sample.info.workload] = frozenset(sample.gpus)
        engines = frozenset[str]().union(*self._held.values())
        return [self._deduplicated(sample, engines) for sample in samples]

    def _deduplicated(self, sample: EngineSample, engines: frozenset[str]) -> EngineSample:
        if sample.counts is None or not is_frontend(sample.info.engine):
            return sample
        if sample.gpus and engines.isdisjoint(sample.gpus):
            return sample
        return replace(sample, counts=load_only(sample.counts))
