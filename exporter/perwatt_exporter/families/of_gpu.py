"""How families are made of what each GPU's readings say."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from operator import attrgetter
from typing import TypeVar

from perwatt_agent.snapshot import GpuReading, GpuSlowReading, GpuSnapshot, Snapshot
from perwatt_exporter.families.bases import slow_readings
from perwatt_exporter.family import Family, Kind, Sample

T = TypeVar("T")

Values = Iterable[tuple[tuple[str, ...], float | None]]
"""What one GPU says: values of the labels besides `gpu`, and the amount; None is left out."""


def healthy(snapshot: Snapshot) -> Iterator[GpuSnapshot]:
    """The GPUs whose readings may be shown: of any other GPU only identity and `up` stay."""
    return (gpu for gpu in snapshot.gpus if gpu.state == "ok")


def of_reading(
    name: str,
    help_text: str,
    values: Callable[[GpuReading], Values],
    labels: Sequence[str] = (),
    closed: Mapping[str, tuple[str, ...]] | None = None,
) -> Family[Snapshot]:
    """A family from the reading that is made every sweep."""
    read = _read(attrgetter("reading"), values)
    return Family(name, _kind(name), help_text, ("gpu", *labels), read, dict(closed or {}))


def of_slow_reading(
    name: str,
    help_text: str,
    values: Callable[[GpuSlowReading], Values],
    labels: Sequence[str] = (),
    closed: Mapping[str, tuple[str, ...]] | None = None,
) -> Family[Snapshot]:
    """A family from the reading that is made every 10-15 s."""
    read = _read(attrgetter("slow"), values)
    return Family(
        name, _kind(name), help_text, ("gpu", *labels), read, dict(closed or {}), basis=slow_readings
    )


def only(value: Callable[[T], float | None]) -> Callable[[T], Values]:
    """One amount."""
    return lambda facts: (((), value(facts)),)


def each(places: Mapping[str, Callable[[T], float | None]]) -> Callable[[T], Values]:
    """An amount for each value of one label."""
    by_labels = [((place,), value) for place, value in places.items()]
    return lambda facts: [(labels, value(facts)) for labels, value in by_labels]


def entries(amounts: Callable[[T], Mapping[str, float]]) -> Callable[[T], Values]:
    """The entries of a dictionary, whose keys are the values of one label."""
    return lambda facts: [((key,), amount) for key, amount in amounts(facts).items()]


def state(names: Sequence[str], value: Callable[[T], str | None]) -> Callable[[T], Values]:
    """1 for the name that holds and 0 for the others; nothing where none is known."""

    def values(facts: T) -> Values:
        holds = value(facts)
        return [((name,), name == holds) for name in (names if holds is not None else ())]

    return values


def _read(
    pick: Callable[[GpuSnapshot], T | None], values: Callable[[T], Values]
) -> Callable[[Snapshot], Iterator[Sample]]:
    def read(snapshot: Snapshot) -> Iterator[Sample]:
        for gpu in healthy(snapshot):
            facts = pick(gpu)
            if facts is None:
                continue
            uuid = gpu.info.uuid
            for labels, amount in values(facts):
                if amount is not None:
                    yield (uuid, *labels), amount

    return read


def _kind(name: str) -> Kind:
    return "counter" if name.endswith("_total") else "gauge"
