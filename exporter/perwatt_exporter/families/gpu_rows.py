"""Builders of GPU families: rows of GPUs and columns of their readings."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import TypeVar

from perwatt_agent.facts.gpu import GpuSnapshot
from perwatt_agent.facts.gpu_reading import GpuReading, GpuSlowReading
from perwatt_agent.facts.snapshot import Snapshot
from perwatt_exporter.families import unchanged
from perwatt_exporter.page.family import Columns, Family, Kind, Rows, Sample, Table

T = TypeVar("T")

Values = Iterable[tuple[tuple[str, ...], float | None]]
"""What one GPU says: values of the labels besides `gpu`, and the amount; None is left out."""


def healthy(snapshot: Snapshot) -> Iterator[GpuSnapshot]:
    """The GPUs whose readings may be shown: of any other GPU only identity and `up` stay."""
    return (gpu for gpu in snapshot.gpus if gpu.state == "ok")


def gpus(snapshot: Snapshot) -> Rows[GpuSnapshot]:
    """Those GPUs as rows."""
    return [((gpu.info.uuid,), gpu) for gpu in healthy(snapshot)]


def readings(snapshot: Snapshot) -> Rows[GpuReading]:
    """What is read of them every sweep."""
    return [((gpu.info.uuid,), gpu.reading) for gpu in healthy(snapshot) if gpu.reading is not None]


def slow_readings(snapshot: Snapshot) -> Rows[GpuSlowReading]:
    """What is read of them every 10-15 s."""
    return [((gpu.info.uuid,), gpu.slow) for gpu in healthy(snapshot) if gpu.slow is not None]


def of_table(
    rows: Callable[[Snapshot], Rows[T]],
    name: str,
    help_text: str,
    columns: Columns[T],
    labels: Sequence[str] = (),
    closed: Mapping[str, tuple[str, ...]] | None = None,
) -> Family[Snapshot]:
    """A family of GPUs from the same facts of each."""
    return Family(name, _kind(name), help_text, ("gpu", *labels), Table(rows, columns), dict(closed or {}))


def of_reading(
    name: str,
    help_text: str,
    values: Columns[GpuReading] | Callable[[GpuReading], Values],
    labels: Sequence[str] = (),
    closed: Mapping[str, tuple[str, ...]] | None = None,
) -> Family[Snapshot]:
    """A family from the reading that is made every sweep."""
    read = _read(readings, values)
    return Family(name, _kind(name), help_text, ("gpu", *labels), read, dict(closed or {}))


def of_slow_reading(
    name: str,
    help_text: str,
    values: Columns[GpuSlowReading] | Callable[[GpuSlowReading], Values],
    labels: Sequence[str] = (),
    closed: Mapping[str, tuple[str, ...]] | None = None,
) -> Family[Snapshot]:
    """A family from the reading that is made every 10-15 s."""
    read = _read(slow_readings, values)
    return Family(
        name,
        _kind(name),
        help_text,
        ("gpu", *labels),
        read,
        dict(closed or {}),
        basis=unchanged.slow_readings,
    )


def only(value: Callable[[T], float | None]) -> Columns[T]:
    """One amount."""
    return (((), value),)


def each(places: Mapping[str, Callable[[T], float | None]]) -> Columns[T]:
    """An amount for each value of one label."""
    return tuple(((place,), value) for place, value in places.items())


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
    rows: Callable[[Snapshot], Rows[T]], values: Columns[T] | Callable[[T], Values]
) -> Callable[[Snapshot], Iterable[Sample]]:
    if not callable(values):
        return Table(rows, values)

    def read(snapshot: Snapshot) -> Iterator[Sample]:
        for row, facts in rows(snapshot):
            for labels, amount in values(facts):
                if amount is not None:
                    yield (*row, *labels), amount

    return read


def _kind(name: str) -> Kind:
    return "counter" if name.endswith("_total") else "gauge"
