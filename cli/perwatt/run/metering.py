"""Put the meters of the host together: those that a machine has by itself, and those that are configured."""

import asyncio
from collections.abc import Iterator, Sequence

from perwatt.errors import CommandError
from perwatt.findings import Finding
from perwatt_agent.clock import Clock
from perwatt_agent.config import AgentConfig
from perwatt_agent.facts.host import NodeModel
from perwatt_agent.facts.readings import MeterSample
from perwatt_agent.meters.aside import Aside
from perwatt_agent.meters.build import build_meter
from perwatt_agent.meters.grace import GraceMeter
from perwatt_agent.meters.hwmon import HwmonMeter
from perwatt_agent.meters.ipmi import IpmiMeter
from perwatt_agent.meters.meter import Meter, MeterFailure
from perwatt_agent.meters.rapl import RaplMeter

READ_SECONDS = 20.0


def build_meters(config: AgentConfig, clock: Clock) -> list[Meter]:
    """
    Every meter that is to be read. Raises CommandError where a configured one cannot be.

    Beside simulated GPUs the machine's own are left alone: real joules of a host that has no such boards.
    """
    try:
        configured = [build_meter(meter, clock) for meter in config.meters.list]
    except ValueError as error:
        raise CommandError(f"meters: {error}") from None
    if not config.meters.discover or config.backend == "simulated":
        return configured
    names = {meter.name for meter in configured}
    has_ipmi = any(meter.kind == "ipmi" for meter in config.meters.list)
    own: list[Meter] = [
        Aside(RaplMeter(clock), clock),
        Aside(HwmonMeter(clock), clock),
        Aside(GraceMeter(clock), clock),
        *([] if has_ipmi else [IpmiMeter(clock)]),
    ]
    return configured + [meter for meter in own if meter.name not in names]


def build_model(config: AgentConfig) -> NodeModel | None:
    """What is assumed of a node that has no meter at the wall, if anything is."""
    model = config.meters.model
    return None if model is None else NodeModel(model.rest_watts, model.psu_efficiency)


def check_meters(meters: Sequence[Meter], has_model: bool) -> Iterator[Finding]:
    """What each meter shows, or why it does not; and whether the node's joules will be known."""
    read = asyncio.run(_read_all(meters))
    for meter, answer in zip(meters, read, strict=True):
        yield _finding(meter, answer)
    if not has_model and not any(_is_of_the_node(answer) for answer in read):
        yield Finding(
            "hint",
            "node",
            "no meter at the wall: joules of the boards, none of the node",
            "name one under `meters`, or state `meters.model.rest_watts` for an estimate",
        )


async def _read_all(meters: Sequence[Meter]) -> list[Sequence[MeterSample] | MeterFailure]:
    return await asyncio.gather(*map(_read, meters))


async def _read(meter: Meter) -> Sequence[MeterSample] | MeterFailure:
    try:
        return await asyncio.wait_for(meter.read(), READ_SECONDS)
    except MeterFailure as failure:
        return failure
    except asyncio.TimeoutError:
        return MeterFailure("timeout", f"no answer within {READ_SECONDS:g} s")
    except Exception as error:  # noqa: BLE001 - one meter's surprise must not hide the others
        return MeterFailure("unexpected", repr(error))


def _finding(meter: Meter, answer: Sequence[MeterSample] | MeterFailure) -> Finding:
    if isinstance(answer, MeterFailure):
        detail, _, cure = str(answer).partition("; ")
        return Finding("hint" if answer.reason == "absent" else "missing", meter.name, detail, cure)
    return Finding("ok", meter.name, ", ".join(map(_shown, answer)))


def _shown(sample: MeterSample) -> str:
    what = " ".join(part for part in (sample.scope, sample.zone) if part)
    if sample.power_watts is not None:
        return f"{what} {sample.power_watts:.3g} W"
    return what if sample.energy_joules is not None else f"{what} (does not answer)"


def _is_of_the_node(answer: Sequence[MeterSample] | MeterFailure) -> bool:
    return not isinstance(answer, MeterFailure) and any(sample.scope == "node" for sample in answer)
