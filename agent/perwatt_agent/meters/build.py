"""From what an operator says of a meter to the meter: the one table of their kinds."""

from collections.abc import Callable, Mapping

from perwatt_agent.clock import Clock
from perwatt_agent.meters import ipmi
from perwatt_agent.meters.config import MeterConfig, MeterKind, PlaceConfig
from perwatt_agent.meters.csvfile import CsvFile
from perwatt_agent.meters.figure import VALID_PERIODS, FigureMeter, FigureReader
from perwatt_agent.meters.ipmi import IpmiMeter
from perwatt_agent.meters.jsondoc import JsonDocument
from perwatt_agent.meters.meter import Meter
from perwatt_agent.meters.promquery import PromQuery
from perwatt_agent.meters.redfish import RedfishMeter

INTERVAL_SECONDS: Mapping[MeterKind, float] = {
    "ipmi": ipmi.INTERVAL_SECONDS,
    "redfish": 10.0,
    "prometheus": 30.0,
    "json": 5.0,
    "csv": 1.0,
}
"""How often a meter is asked whose configuration does not say."""


def interval_seconds(config: PlaceConfig) -> float:
    """How often the place of *config* is asked."""
    return INTERVAL_SECONDS[config.kind] if config.interval is None else config.interval


def build_meter(config: MeterConfig, clock: Clock) -> Meter:
    """The meter of *config*. Raises ValueError, saying why, where none can be."""
    if config.kind == "ipmi":
        return IpmiMeter(
            clock, name=config.label, scope=config.scope, interval_seconds=interval_seconds(config)
        )
    if config.kind == "redfish":
        return RedfishMeter(config, clock, interval_seconds(config))
    return FigureMeter(config, build_reader(config, clock), clock, interval_seconds(config))


def build_reader(config: PlaceConfig, clock: Clock) -> FigureReader:
    """What reads the bare number of *config*, a price perhaps. Raises ValueError where none can be."""
    return _READERS[config.kind](config, clock)


def _prom_query(config: PlaceConfig, clock: Clock) -> FigureReader:
    return PromQuery(config, VALID_PERIODS * interval_seconds(config))


_READERS: Mapping[MeterKind, Callable[[PlaceConfig, Clock], FigureReader]] = {
    "prometheus": _prom_query,
    "json": lambda config, clock: JsonDocument(config),
    "csv": CsvFile,
}
