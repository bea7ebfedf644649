"""The whole node at the wall (AC), from a meter; without a meter these families are absent."""

from collections.abc import Iterator

from perwatt_agent.snapshot import Snapshot
from perwatt_exporter.family import Family, Sample

# The first meter speaks for the node; showing a second one under the same name would count joules twice.


def _energy(snapshot: Snapshot) -> Iterator[Sample]:
    for meter in snapshot.node_meters[:1]:
        yield (meter.source,), meter.energy_joules


def _covered(snapshot: Snapshot) -> Iterator[Sample]:
    for meter in snapshot.node_meters[:1]:
        yield (meter.source,), meter.covered_seconds


def _further_meters(snapshot: Snapshot) -> Iterator[Sample]:
    for meter in snapshot.node_meters[1:]:
        yield (meter.source,), meter.energy_joules


FAMILIES: tuple[Family[Snapshot], ...] = (
    Family(
        "perwatt_node_energy_joules_total",
        "counter",
        "Energy of this node at the wall (AC) in joules, all of it: GPUs, host, fans and power supplies. "
        "One source at a time. Absent without a meter; it is never guessed from the GPUs.",
        ("source",),
        _energy,
    ),
    Family(
        "perwatt_node_energy_covered_seconds_total",
        "counter",
        "Seconds of time that the node's energy covers.",
        ("source",),
        _covered,
    ),
    Family(
        "perwatt_node_meter_energy_joules_total",
        "counter",
        "Energy in joules by further meters of the same node, to compare with; never to be added to it.",
        ("meter",),
        _further_meters,
    ),
)
