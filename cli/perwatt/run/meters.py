"""Meters of the host, built from the configuration: configured ones, and those found on the machine."""

from perwatt.errors import CommandError
from perwatt_agent.clock import Clock
from perwatt_agent.config import AgentConfig
from perwatt_agent.facts.host_meter import NodeModel
from perwatt_agent.meters.build import build_meter, find_meters
from perwatt_agent.meters.meter import Meter


def build_meters(config: AgentConfig, clock: Clock) -> list[Meter]:
    """
    Every meter to read. Raises CommandError for a configuration that cannot be built.

    With simulated GPUs the machine's own meters are not read: they measure a host without those boards.
    """
    try:
        configured = [build_meter(meter, clock) for meter in config.meters.list]
    except ValueError as error:
        raise CommandError(f"meters: {error}") from None
    if not config.meters.discover or config.backend == "simulated":
        return configured
    return [*configured, *find_meters(clock, config.meters.list)]


def build_model(config: AgentConfig) -> NodeModel | None:
    """Model of a node without a wall meter, where the configuration has one."""
    model = config.meters.model
    return None if model is None else NodeModel(model.rest_watts, model.psu_efficiency)
