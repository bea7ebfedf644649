"""Events between two snapshots, not yet numbered."""

from collections.abc import Iterator

from perwatt_agent.facts.event import Event, Severity, event_at
from perwatt_agent.facts.gpu import GpuSnapshot, GpuState
from perwatt_agent.facts.health import HealthState
from perwatt_agent.facts.snapshot import Snapshot
from perwatt_agent.facts.workload import WorkloadSnapshot

_HEALTH_SEVERITY: dict[HealthState, Severity] = {
    "ok": "info",
    "degraded": "warning",
    "at_risk": "warning",
    "failed": "critical",
}
MAX_NAMED_CALLS = 8
_GONE: tuple[GpuState, ...] = ("lost", "hung")


def changes(before: Snapshot, after: Snapshot) -> Iterator[Event]:
    """Yield the events that lead from one snapshot to the next."""
    yield from _driver(before, after)
    known = {gpu.info.uuid: gpu for gpu in before.gpus}
    for gpu in after.gpus:
        earlier = known.get(gpu.info.uuid)
        yield from _gpu_state(earlier, gpu, after)
        yield from _health(earlier, gpu, after)
        yield from _energy_source(earlier, gpu, after)
    yield from _meters(before, after)
    workloads = {one.info.workload: one for one in before.workloads}
    for workload in after.workloads:
        yield from _engine(workloads.get(workload.info.workload), workload, after)


def _driver(before: Snapshot, after: Snapshot) -> Iterator[Event]:
    was, now = before.backend, after.backend
    if was.up and not now.up:
        message = f"The driver no longer answers: {now.reason}."
        yield event_at(after.unix_seconds, "driver", "critical", message, before="up", after=now.reason)
    elif now.up and not was.up:
        message = f"Driver {now.driver_version} answers."
        yield event_at(after.unix_seconds, "driver", "info", message, before=was.reason, after="up")
    elif now.driver_version != was.driver_version:
        message = f"Driver {now.driver_version} answers; it was {was.driver_version} before."
        yield event_at(
            after.unix_seconds,
            "driver",
            "info",
            message,
            before=was.driver_version,
            after=now.driver_version,
        )


def _gpu_state(earlier: GpuSnapshot | None, gpu: GpuSnapshot, after: Snapshot) -> Iterator[Event]:
    """GPUs that disappeared or came back; a reading that fails now and then is a matter of health."""
    was: GpuState = "ok" if earlier is None else earlier.state
    back = gpu.state not in _GONE
    if was == gpu.state or (back and was not in _GONE):
        return
    what = "is back" if back else f"is {gpu.state}"
    message = f"GPU {gpu.info.index} ({gpu.info.name}) {what}."
    severity: Severity = "info" if back else "critical"
    yield event_at(
        after.unix_seconds,
        "gpu_state",
        severity,
        message,
        gpu=gpu.info.uuid,
        before=was,
        after=gpu.state,
    )


def _health(earlier: GpuSnapshot | None, gpu: GpuSnapshot, after: Snapshot) -> Iterator[Event]:
    if gpu.health is None or (earlier is not None and gpu.health is earlier.health):
        return
    was: HealthState = earlier.health.state if earlier is not None and earlier.health else "ok"
    reasons = earlier.health.reasons if earlier is not None and earlier.health else ()
    now = gpu.health
    if (was, reasons) == (now.state, now.reasons):
        return
    why = f": {', '.join(now.reasons)}" if now.reasons else ""
    yield event_at(
        after.unix_seconds,
        "health",
        _HEALTH_SEVERITY[now.state],
        f"GPU {gpu.info.index} ({gpu.info.name}) is {now.state}{why}{_failing_calls(gpu)}.",
        gpu=gpu.info.uuid,
        before=was,
        after=now.state,
        reasons=now.reasons,
    )


def _failing_calls(gpu: GpuSnapshot) -> str:
    failed = gpu.reading.failed_calls if gpu.reading is not None else {}
    calls = [f"{call}: {word}" for call, word in sorted(failed.items())[:MAX_NAMED_CALLS]]
    return f" ({'; '.join(calls)})" if calls else ""


def _energy_source(earlier: GpuSnapshot | None, gpu: GpuSnapshot, after: Snapshot) -> Iterator[Event]:
    if earlier is None or earlier.energy is None or gpu.energy is None:
        return
    was, now = earlier.energy.source, gpu.energy.source
    if was != now:
        message = (
            f"The energy source of GPU {gpu.info.index} ({gpu.info.name}) is {now}; it was {was} before."
        )
        yield event_at(
            after.unix_seconds,
            "energy_source",
            "warning",
            message,
            gpu=gpu.info.uuid,
            before=was,
            after=now,
        )


def _meters(before: Snapshot, after: Snapshot) -> Iterator[Event]:
    was = "+".join(meter.source for meter in before.node_meters)
    now = "+".join(meter.source for meter in after.node_meters)
    if was != now:
        message = f"The node meter is {now or 'none'}; it was {was or 'none'} before."
        yield event_at(
            after.unix_seconds,
            "node_meter",
            "info" if now else "warning",
            message,
            before=was,
            after=now,
        )


def _engine(earlier: WorkloadSnapshot | None, workload: WorkloadSnapshot, after: Snapshot) -> Iterator[Event]:
    if earlier is None or earlier.counts is None or workload.counts is None:
        return
    was, now = earlier.counts.process_start_unix_seconds, workload.counts.process_start_unix_seconds
    # Engines round their start differently from page to page.
    if was is not None and now is not None and now - was > 1.0:
        name = workload.info.workload
        yield event_at(
            after.unix_seconds,
            "engine_restart",
            "info",
            f"The engine of {name} has restarted.",
            workload=name,
        )
