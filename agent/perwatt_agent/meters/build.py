"""Meters built from their configuration, and meters found on this machine."""

from collections.abc import Iterator, Sequence

from perwatt_agent.clock import Clock
from perwatt_agent.meters.catalog import METERS, configured_kinds
from perwatt_agent.meters.config import MeterConfig, PlaceConfig
from perwatt_agent.meters.kind import MeterKind
from perwatt_agent.meters.meter import Meter
from perwatt_agent.meters.reading.figure import FigureMeter, FigureReader


def interval_seconds(config: PlaceConfig, kinds: Sequence[MeterKind] = METERS) -> float:
    """Return how often to read the number of *config*."""
    return _kind(config, kinds).interval_seconds if config.interval is None else config.interval


def build_meter(config: MeterConfig, clock: Clock, kinds: Sequence[MeterKind] = METERS) -> Meter:
    """Return the meter of *config*. Raises ValueError with the reason where it cannot be built."""
    build = _kind(config, kinds).build
    if build is not None:
        return build(config, clock, interval_seconds(config, kinds))
    return FigureMeter(config, build_reader(config, clock, kinds), clock, interval_seconds(config, kinds))


def build_reader(config: PlaceConfig, clock: Clock, kinds: Sequence[MeterKind] = METERS) -> FigureReader:
    """Return the reader of a bare number. Raises ValueError with the reason where it cannot be built."""
    read = _kind(config, kinds).read_figure
    assert read is not None, "checked with the configuration"
    return read(config, clock, interval_seconds(config, kinds))


def find_meters(
    clock: Clock, configured: Sequence[MeterConfig], kinds: Sequence[MeterKind] = METERS
) -> Iterator[Meter]:
    """
    Yield the meters that any machine may have, whether or not this one does; a read will show.

    A kind that is configured is not looked for, nor a meter whose name is taken.
    """
    taken = {meter.kind for meter in configured} | {meter.label for meter in configured}
    for kind in kinds:
        if kind.find is not None and kind.name not in taken:
            yield kind.find(clock)


def _kind(config: PlaceConfig, kinds: Sequence[MeterKind]) -> MeterKind:
    return configured_kinds(kinds)[config.kind]
