"""Checks of the host's meters, and of whether the node's energy will be known."""

import asyncio
from collections.abc import Iterator, Sequence

from perwatt.doctor.finding import Finding
from perwatt_agent.facts.readings import MeterSample
from perwatt_agent.meters.meter import Meter, MeterFailure

READ_SECONDS = 20.0


def check_meters(meters: Sequence[Meter], has_model: bool) -> Iterator[Finding]:
    """What each meter reads, or why it does not; then whether any of them measures the whole node."""
    answers = asyncio.run(_read_all(meters))
    for meter, answer in zip(meters, answers, strict=True):
        yield _finding(meter, answer)
    if not has_model and not any(_measures_node(answer) for answer in answers):
        yield Finding(
            "hint",
            "node",
            "no wall meter: GPU board energy is measured, whole-node energy is not",
            "add a meter under `meters.list`, or set `meters.model.rest_watts` for an estimate",
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
        detail, _, fix = str(answer).partition("; ")
        return Finding("hint" if answer.reason == "absent" else "missing", meter.name, detail, fix)
    return Finding("ok", meter.name, ", ".join(map(_shown, answer)))


def _shown(sample: MeterSample) -> str:
    what = " ".join(part for part in (sample.scope, sample.zone) if part)
    if sample.power_watts is not None:
        return f"{what} {sample.power_watts:.3g} W"
    return what if sample.energy_joules is not None else f"{what} (no answer)"


def _measures_node(answer: Sequence[MeterSample] | MeterFailure) -> bool:
    return not isinstance(answer, MeterFailure) and any(sample.scope == "node" for sample in answer)
