"""Families of GPU health: state, reasons, number of events."""

from collections.abc import Iterator

from perwatt_agent.facts.event import EVENT_KINDS
from perwatt_agent.facts.health import HEALTH_REASONS, HEALTH_STATES
from perwatt_agent.facts.snapshot import Snapshot
from perwatt_exporter.families.unchanged import judgements
from perwatt_exporter.page.family import Family, Sample


def _health(snapshot: Snapshot) -> Iterator[Sample]:
    for gpu in snapshot.gpus:
        if gpu.health is not None:
            for state in HEALTH_STATES:
                yield (gpu.info.uuid, state), state == gpu.health.state


def _reasons(snapshot: Snapshot) -> Iterator[Sample]:
    for gpu in snapshot.gpus:
        if gpu.health is not None:
            for reason in gpu.health.reasons:
                yield (gpu.info.uuid, reason), 1


def _events(snapshot: Snapshot) -> Iterator[Sample]:
    for kind, count in snapshot.events:
        yield (kind,), count


FAMILIES: tuple[Family[Snapshot], ...] = (
    Family(
        "perwatt_gpu_health",
        "gauge",
        "1 for the state of the GPU, else 0: degraded does less than it should, at_risk may fail soon, "
        "failed does not work or needs a reset. The rules are in docs/health.md.",
        ("gpu", "state"),
        _health,
        {"state": HEALTH_STATES},
        basis=judgements,
    ),
    Family(
        "perwatt_gpu_health_reason",
        "gauge",
        "1 for each reason why the GPU is not ok; a reason that does not hold is absent.",
        ("gpu", "reason"),
        _reasons,
        {"reason": HEALTH_REASONS},
        basis=judgements,
    ),
    Family(
        "perwatt_events_total",
        "counter",
        "Events since the agent started, by kind; /v1/events has the newest.",
        ("kind",),
        _events,
        {"kind": EVENT_KINDS},
    ),
)
