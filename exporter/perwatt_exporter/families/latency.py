"""Families of request latency, measured by each workload's engine, in the engine's own buckets."""

from collections.abc import Callable, Iterator

from perwatt_agent.facts.engine_counts import EngineCounts, Histogram
from perwatt_agent.facts.snapshot import Snapshot
from perwatt_exporter.page.family import Family, Sample


def _latency(
    name: str, help_text: str, histogram: Callable[[EngineCounts], Histogram | None]
) -> Family[Snapshot]:
    def read(snapshot: Snapshot) -> Iterator[Sample]:
        for workload in snapshot.workloads:
            counts = workload.counts
            if counts is not None and (found := histogram(counts)) is not None:
                yield (workload.info.workload, counts.model), found

    return Family(name, "histogram", help_text, ("workload", "model"), read)


FAMILIES: tuple[Family[Snapshot], ...] = (
    _latency(
        "perwatt_time_to_first_token_seconds",
        "Seconds from a request's arrival at the engine to its first token, once for each request. Counts "
        "and buckets are the engine's own; absent where it has none.",
        lambda counts: counts.time_to_first_token,
    ),
    _latency(
        "perwatt_time_per_output_token_seconds",
        "Seconds per output token after the first, as a mean over each request, once for each request when "
        "it ends. Counts and buckets are the engine's own; absent where it has none.",
        lambda counts: counts.time_per_output_token,
    ),
    _latency(
        "perwatt_inter_token_latency_seconds",
        "Seconds between one output token and the next, once for each token or step of the engine. Counts "
        "and buckets are the engine's own; absent where it has none.",
        lambda counts: counts.inter_token_latency,
    ),
)
