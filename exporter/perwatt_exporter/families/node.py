"""Families of the whole node at the wall (AC), from a meter or a stated model; absent without either."""

from collections.abc import Callable, Iterator

from perwatt_agent.facts.host_meter import MeterSnapshot, NodeMeterSnapshot
from perwatt_agent.facts.snapshot import Snapshot
from perwatt_exporter.page.family import Family, Kind, Sample


def _node(
    name: str, kind: Kind, help_text: str, value: Callable[[NodeMeterSnapshot], float | None]
) -> Family[Snapshot]:
    """A fact of the source that speaks for the node."""

    def read(snapshot: Snapshot) -> Iterator[Sample]:
        for meter in snapshot.node_meters[:1]:
            if (amount := value(meter)) is not None:
                yield (meter.source,), amount

    return Family(name, kind, help_text, ("source",), read)


def _meter(
    name: str, kind: Kind, help_text: str, value: Callable[[MeterSnapshot], float | None]
) -> Family[Snapshot]:
    """A fact of every meter."""

    def read(snapshot: Snapshot) -> Iterator[Sample]:
        for meter in snapshot.meters:
            if (amount := value(meter)) is not None:
                yield (meter.meter,), amount

    return Family(name, kind, help_text, ("meter",), read)


def _rejections(snapshot: Snapshot) -> Iterator[Sample]:
    for meter in snapshot.meters:
        for reason, count in meter.rejections:
            yield (meter.meter, reason), count


def _model(snapshot: Snapshot) -> Iterator[Sample]:
    if snapshot.node_model is not None:
        model = snapshot.node_model
        yield (f"{model.rest_watts:g}", f"{model.psu_efficiency:g}"), 1


FAMILIES: tuple[Family[Snapshot], ...] = (
    _node(
        "perwatt_node_energy_joules_total",
        "counter",
        "Energy of the whole node at the wall (AC) in joules: GPUs, host, fans and power supplies. There "
        "is one source at a time; a new one counts from the time at which it takes over. source=model is "
        "computed from measured parts and from what perwatt_node_model_info states. Absent without a "
        "meter or a model; it is never guessed from the GPUs.",
        lambda meter: meter.energy_joules,
    ),
    _node(
        "perwatt_node_energy_covered_seconds_total",
        "counter",
        "Seconds of time that the node's energy covers.",
        lambda meter: meter.covered_seconds,
    ),
    _node(
        "perwatt_node_power_watts",
        "gauge",
        "Power of this node at the wall (AC) in watts, as its source last reported it.",
        lambda meter: meter.power_watts,
    ),
    _meter(
        "perwatt_node_meter_energy_joules_total",
        "counter",
        "Energy in joules by further meters of the node or of parts of it, for comparison. Do not add it "
        "to the node's energy: the meters contain each other.",
        lambda meter: meter.energy_joules if meter.role == "further" else None,
    ),
    _meter(
        "perwatt_node_meter_up",
        "gauge",
        "1 while the readings of a meter are accepted, 0 while it answers and cannot be right: see "
        "perwatt_node_meter_rejections_total. Absent while it does not answer: see "
        "perwatt_collector_success.",
        lambda meter: meter.is_believed,
    ),
    Family(
        "perwatt_node_meter_rejections_total",
        "counter",
        "Rejected readings of a meter since the agent started, by reason: unread, malformed, negative, "
        "implausible compared with the boards, frozen, a jump of a counter, or its reset.",
        ("meter", "reason"),
        _rejections,
        {"reason": ("unread", "malformed", "negative", "implausible", "frozen", "jump", "reset")},
    ),
    _meter(
        "perwatt_node_meter_period_seconds",
        "gauge",
        "Seconds between the readings of a meter.",
        lambda meter: meter.period_seconds,
    ),
    Family(
        "perwatt_node_model_info",
        "info",
        "What source=model assumes: the power in watts of all but boards, processors and their memory, "
        "and the efficiency of the power supplies, as output power / input power.",
        ("rest_watts", "psu_efficiency"),
        _model,
    ),
)
