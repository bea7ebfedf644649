"""Health of the GPUs in each snapshot, and events since the previous snapshot."""

from collections import defaultdict

from msgspec.structs import replace

from perwatt_agent.diagnosis.event_ring import EventRing
from perwatt_agent.diagnosis.gpu_history import GpuHistory, Symptoms
from perwatt_agent.diagnosis.rules import evaluate
from perwatt_agent.diagnosis.snapshot_events import changes
from perwatt_agent.diagnosis.xids import SEVERITY, meaning_of
from perwatt_agent.facts.event import Event, event_at
from perwatt_agent.facts.gpu import GpuSnapshot
from perwatt_agent.facts.health import GpuHealth
from perwatt_agent.facts.readings import XidEvent
from perwatt_agent.facts.snapshot import Snapshot


class Diagnosis:
    """
    Evaluation of snapshots: adds health to them, and writes events into the ring.

    An XID error can arrive twice, at once and with the next collection cycle: its number counts once.
    """

    def __init__(self, events: EventRing[Event]) -> None:
        self.events = events
        self._histories: defaultdict[str, GpuHistory] = defaultdict(GpuHistory)
        self._evaluated: dict[str, tuple[Symptoms, GpuHealth]] = {}
        self._last: Snapshot | None = None
        self._last_xid = 0

    def examine(self, snapshot: Snapshot, xids: tuple[XidEvent, ...] = ()) -> Snapshot:
        """Return a collection cycle's snapshot with health, XID errors and event counts."""
        for xid in xids:
            self._add_xid(xid, snapshot)
        return self._evaluate(snapshot)

    def receive_xid(self, latest: Snapshot, xid: XidEvent) -> Snapshot:
        """Return the latest snapshot with an XID error that arrived after it."""
        self._add_xid(xid, latest)
        return self._evaluate(latest)

    def _evaluate(self, snapshot: Snapshot) -> Snapshot:
        gpus = tuple(self._gpu(gpu, snapshot) for gpu in snapshot.gpus)
        judged = replace(snapshot, gpus=gpus)
        if self._last is not None:
            for event in changes(self._last, judged):
                self.events.add(event)
        self._last = judged
        return replace(judged, events=self.events.counts())

    def _gpu(self, gpu: GpuSnapshot, snapshot: Snapshot) -> GpuSnapshot:
        history = self._histories[gpu.info.uuid]
        now, backend_up = snapshot.monotonic_seconds, snapshot.backend.up
        symptoms = history.add(gpu, now, snapshot.workloads, backend_up=backend_up)
        # From one collection cycle to the next, symptoms mostly stay the same.
        previous, health = self._evaluated.get(gpu.info.uuid, (None, None))
        if health is None or symptoms != previous:
            health = evaluate(symptoms)
            self._evaluated[gpu.info.uuid] = symptoms, health
        return replace(gpu, health=health, xids=history.xids())

    def _add_xid(self, xid: XidEvent, snapshot: Snapshot) -> None:
        if xid.number <= self._last_xid:
            return
        self._last_xid = xid.number
        self._histories[xid.uuid].add_xid(xid.code, xid.monotonic_seconds, xid.unix_seconds)
        listed = meaning_of(xid.code)
        names = {gpu.info.uuid: f"GPU {gpu.info.index} ({gpu.info.name})" for gpu in snapshot.gpus}
        message = f"{names.get(xid.uuid, xid.uuid)}: XID {xid.code}, {listed.meaning}."
        self.events.add(
            event_at(xid.unix_seconds, "xid", SEVERITY[listed.kind], message, gpu=xid.uuid, xid=xid.code)
        )
