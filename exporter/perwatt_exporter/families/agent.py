"""Families of the agent: its version, its backend, and the health of its collectors."""

from collections.abc import Callable, Iterator

from perwatt_agent import __version__
from perwatt_agent.facts.gpu import GPU_STATES, GpuState
from perwatt_agent.facts.snapshot import CollectorHealth, Snapshot
from perwatt_exporter.families.unchanged import backend
from perwatt_exporter.page.family import Family, Rows, Sample, Table


def _build_info(_: Snapshot) -> Iterator[Sample]:
    yield (__version__,), 1


def _agent_info(snapshot: Snapshot) -> Iterator[Sample]:
    if snapshot.agent is not None:
        yield (snapshot.agent.agent, f"{snapshot.agent.start_unix_seconds:.3f}"), 1


def _backend_info(snapshot: Snapshot) -> Iterator[Sample]:
    backend = snapshot.backend
    yield (backend.name, backend.driver_version, backend.nvml_version), 1


def _backend_up(snapshot: Snapshot) -> Iterator[Sample]:
    yield (), snapshot.backend.up


def _snapshot_timestamp(snapshot: Snapshot) -> Iterator[Sample]:
    yield (), snapshot.unix_seconds


def gpus_by_state(snapshot: Snapshot) -> dict[GpuState, int]:
    """Count the GPUs in every state there is; those that are there but cannot be named are lost."""
    states = [gpu.state for gpu in snapshot.gpus]
    counts = {state: states.count(state) for state in GPU_STATES}
    counts["lost"] += snapshot.unidentified_gpus
    return counts


def _gpus(snapshot: Snapshot) -> Iterator[Sample]:
    for state, count in gpus_by_state(snapshot).items():
        yield (state,), count


def _collectors(snapshot: Snapshot) -> Rows[CollectorHealth]:
    return [((collector.name,), collector) for collector in snapshot.collectors]


def _collector(
    name: str, help_text: str, value: Callable[[CollectorHealth], float | None]
) -> Family[Snapshot]:
    """A gauge of every collector."""
    return Family(name, "gauge", help_text, ("collector",), Table(_collectors, (((), value),)))


def _collector_failures(snapshot: Snapshot) -> Iterator[Sample]:
    for collector in snapshot.collectors:
        for reason, count in collector.failures:
            yield (collector.name, reason), count


FAMILIES: tuple[Family[Snapshot], ...] = (
    Family(
        "perwatt_build_info",
        "info",
        "The version of perwatt that wrote this page.",
        ("version",),
        _build_info,
        basis=backend,
    ),
    Family(
        "perwatt_agent_info",
        "info",
        "The agent that serves this page: a random id that it keeps in `data_dir`, and its start in Unix "
        "seconds. Absent if it cannot keep an id.",
        ("agent", "start"),
        _agent_info,
    ),
    Family(
        "perwatt_backend_info",
        "info",
        "Where GPU readings come from: nvml is a real driver, simulated is invented, replay is a recording. "
        "Versions are empty while the driver does not answer.",
        ("backend", "driver_version", "nvml_version"),
        _backend_info,
        {"backend": ("nvml", "simulated", "replay")},
        basis=backend,
    ),
    Family(
        "perwatt_backend_up",
        "gauge",
        "1 while the GPU backend answers, else 0, also after the end of a replay. While it is 0, all "
        "measured GPU series are absent.",
        (),
        _backend_up,
        basis=backend,
    ),
    Family(
        "perwatt_snapshot_timestamp_seconds",
        "gauge",
        "When the facts on this page were read, in Unix time. Age is time() minus this.",
        (),
        _snapshot_timestamp,
    ),
    Family(
        "perwatt_gpus",
        "gauge",
        "GPUs by state: lost no longer answers, hung has a driver call that does not return, error "
        "answers with a failure. A GPU that was seen once stays counted.",
        ("state",),
        _gpus,
        {"state": GPU_STATES},
    ),
    _collector(
        "perwatt_collector_success",
        "1 if the collector's latest attempt succeeded, else 0.",
        lambda collector: collector.success,
    ),
    _collector(
        "perwatt_collector_last_success_timestamp_seconds",
        "When the collector last succeeded, in Unix time; absent until it does.",
        lambda collector: collector.last_success_unix_seconds,
    ),
    _collector(
        "perwatt_collector_duration_seconds",
        "How long the collector's latest attempt took, in seconds; absent until one ended.",
        lambda collector: collector.duration_seconds,
    ),
    Family(
        "perwatt_collector_failures_total",
        "counter",
        "Failed attempts of the collector since the agent started, by reason.",
        ("collector", "reason"),
        _collector_failures,
    ),
)
