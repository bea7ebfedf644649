"""Say of each snapshot how its GPUs fare and what happened since the one before."""

from collections import defaultdict

from msgspec.structs import replace

from perwatt_agent.diagnosis.event_ring import EventRing
from perwatt_agent.diagnosis.gpu_history import GpuHistory, Symptoms
from perwatt_agent.diagnosis.rules import judge
from perwatt_agent.diagnosis.snapshot_events import changes
from perwatt_agent.diagnosis.xids import SEVERITY, meaning_of
from perwatt_agent.facts.event import Event, event_at
from perwatt_agent.facts.gpu import GpuSnapshot
from perwatt_agent.facts.health import GpuHealth
from perwatt_agent.facts.readings import XidEvent
from perwatt_agent.facts.snapshot import Snapshot


class Diagnosis:
    """
    Remembers what the rules need of each GPU, and writes what happens into the ring.

    An XID error may be told twice, at once and with the sweep after it: it counts once, by its number.
    """

    def __init__(self, events: EventRing[Event]) -> None:
        self.events = events
        self._pasts: defaultdict[str, GpuHistory] = defaultdict(GpuHistory)
        self._judged: dict[str, tuple[Symptoms, GpuHealth]] = {}
        self._last: Snapshot | None = None
        self._heard = 0

    def examine(self, snapshot: Snapshot, xids: tuple[XidEvent, ...] = ()) -> Snapshot:
        """Return a sweep's snapshot with health, XID errors and counts of events in it."""
        for xid in xids:
            self._hear(xid, snapshot)
        return self._judge(snapshot)

    def hear(self, latest: Snapshot, xid: XidEvent) -> Snapshot:
        """Return the latest snapshot with an XID error that was heard since."""
        self._hear(xid, latest)
        return self._judge(latest)

    def _judge(self, snapshot: Snapshot) -> Snapshot:
        gpus = tuple(self._gpu(gpu, snapshot) for gpu in snapshot.gpus)
        judged = replace(snapshot, gpus=gpus)
        if self._last is not None:
            for event in changes(self._last, judged):
                self.events.add(event)
        self._last = judged
        return replace(judged, events=self.events.counts())

    def _gpu(self, gpu: GpuSnapshot, snapshot: Snapshot) -> GpuSnapshot:
        past = self._pasts[gpu.info.uuid]
        now, backend_up = snapshot.monotonic_seconds, snapshot.backend.up
        case = past.case(gpu, now, snapshot.workloads, backend_up=backend_up)
        # From one sweep to the next there is mostly nothing new to be judged.
        known, health = self._judged.get(gpu.info.uuid, (None, None))
        if health is None or case != known:
            health = judge(case)
            self._judged[gpu.info.uuid] = case, health
        return replace(gpu, health=health, xids=past.xids())

    def _hear(self, xid: XidEvent, snapshot: Snapshot) -> None:
        if xid.number <= self._heard:
            return
        self._heard = xid.number
        self._pasts[xid.uuid].hear(xid.code, xid.monotonic_seconds, xid.unix_seconds)
        known = meaning_of(xid.code)
        names = {gpu.info.uuid: f"GPU {gpu.info.index} ({gpu.info.name})" for gpu in snapshot.gpus}
        message = f"{names.get(xid.uuid, xid.uuid)}: XID {xid.code}, {known.meaning}."
        self.events.add(
            event_at(xid.unix_seconds, "xid", SEVERITY[known.kind], message, gpu=xid.uuid, xid=xid.code)
        )
