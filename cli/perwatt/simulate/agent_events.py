"""Events that a simulated agent reports, made of what happened to its node."""

from collections.abc import Iterator, Sequence

from perwatt.simulate.events import FleetEvent
from perwatt_agent.diagnosis.event_ring import EventRing
from perwatt_agent.facts.event import EVENT_KINDS, Event, event_at

FALLEN_OFF = 79
"""The XID of a GPU that has fallen off the bus."""
_REPORTED = {"gpu_lost": ("xid", "gpu_state", "health"), "engine_restart": ("engine_restart",)}


def event_counts(happened: Sequence[FleetEvent]) -> tuple[float, ...]:
    """How many events of each kind an agent counts, in the order of EVENT_KINDS."""
    kinds = [kind for event in happened for kind in _REPORTED.get(event.kind, ())]
    return tuple(float(kinds.count(kind)) for kind in EVENT_KINDS)


def event_ring(run: str, happened: Sequence[FleetEvent], clock_offset_seconds: float) -> EventRing[Event]:
    """The events of an agent; *run* identifies its process in cursors."""
    ring: EventRing[Event] = EventRing(run)
    for event in happened:
        for reported in _events(event, event.unix_seconds + clock_offset_seconds):
            ring.add(reported)
    return ring


def _events(event: FleetEvent, unix: float) -> Iterator[Event]:
    if event.kind == "gpu_lost":
        gpu = event.gpu
        message = f"{gpu}: XID {FALLEN_OFF}, the GPU has fallen off the bus (simulated)."
        yield event_at(unix, "xid", "critical", message, gpu=gpu, xid=FALLEN_OFF)
        lost = f"{gpu} is lost (simulated)."
        yield event_at(unix, "gpu_state", "critical", lost, gpu=gpu, before="ok", after="lost")
        failed = f"{gpu} failed (simulated)."
        reasons = ("lost", "xid_fatal")
        yield event_at(
            unix, "health", "critical", failed, gpu=gpu, before="ok", after="failed", reasons=reasons
        )
    elif event.kind == "engine_restart":
        message = f"The engine of {event.workload} restarted (simulated)."
        yield event_at(unix, "engine_restart", "warning", message, workload=event.workload)
