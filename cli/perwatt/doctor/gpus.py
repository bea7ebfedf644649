"""Checks of the NVIDIA driver, of each GPU, and of the GPUs that endpoints claim."""

import queue
import threading
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from msgspec import Struct

from perwatt.doctor.finding import Finding
from perwatt.run.discovery import claims
from perwatt_agent.config import AgentConfig
from perwatt_agent.discovery.visibility import is_unlisted
from perwatt_agent.engine.gpu_claims import claim_conflicts, describe_conflict, missing_instances, unmatched
from perwatt_agent.facts.gpu import GpuInfo
from perwatt_agent.facts.gpu_reading import GpuReading, GpuSlowReading
from perwatt_agent.gpu.backend import Backend, BackendUnavailable, Device, Generation, GpuFailure

DRIVER_SECONDS = 20.0
NO_DRIVER_FIX = "without an NVIDIA GPU, try `perwatt up`: it simulates some"
NO_PROCESSES = (
    "the driver does not list the processes that compute: engines are not discovered, and the energy of a "
    "GPU with several workloads is split equally"
)
PROCESSES_FIX = (
    "update the driver to 510 or later; on a guest with a virtual GPU, configure engines.endpoints"
)
SEE_XIDS = "look for lines with Xid in `dmesg`"

READINGS = (
    ("energy_joules", "energy counter"),
    ("power_watts", "power"),
    ("utilization_ratio", "utilization"),
    ("memory_used_bytes", "memory"),
    ("temperature_core_celsius", "temperature"),
    ("clock_sm_hertz", "clocks"),
)
"""A field of a GPU's reading, and its name here."""


class Gpus(Struct, frozen=True):
    """
    The driver's answers: findings, its GPUs, the processes that compute on each GPU, the GPU of each MIG
    instance, and the GPUs that are in use without any process in the driver's list.
    """

    findings: tuple[Finding, ...]
    known: tuple[GpuInfo, ...] = ()
    processes: dict[str, tuple[int, ...]] = {}
    gpu_of: dict[str, str] = {}
    unidentified: int = 0
    unlisted: tuple[str, ...] = ()


def check_gpus(nvml: Backend, deadline_seconds: float = DRIVER_SECONDS) -> Gpus:
    """The driver, and what each GPU reports. A thread of its own waits, since the driver may hang."""
    answers: queue.SimpleQueue[Gpus] = queue.SimpleQueue()
    threading.Thread(target=lambda: answers.put(_read_driver(nvml)), daemon=True).start()
    try:
        return answers.get(timeout=deadline_seconds)
    except queue.Empty:
        detail = f"the driver did not answer within {deadline_seconds:g} s"
        return Gpus((Finding("missing", "nvidia", detail, SEE_XIDS),))


def check_claims(config: AgentConfig, gpus: Gpus) -> Iterator[Finding]:
    """GPUs that an endpoint claims and will not get; nothing where the driver listed no GPUs."""
    for dispute in claim_conflicts(claims(config), gpus.known, gpus.gpu_of):
        yield Finding("missing", f"GPU {dispute.gpu.index}", describe_conflict(dispute))
    absent = missing_instances(claims(config), gpus.gpu_of) if gpus.known else frozenset()
    for claimant, mig in sorted(absent):
        fix = "correct its `gpus`; `nvidia-smi -L` lists the instances"
        yield Finding("missing", "MIG", f"{claimant} claims {mig}, which does not exist", fix)
    yield from _check_unmatched(config, gpus)


def check_memory(remembered: Sequence[GpuInfo], gpus: Gpus, file: Path) -> Iterator[Finding]:
    """GPUs of before that the driver does not list, unless as many others have come."""
    listed = {info.uuid for info in gpus.known}
    gone = [info for info in remembered if info.uuid not in listed]
    if len(listed) + gpus.unidentified >= len(remembered):
        return
    for info in gone:
        fix = f"{SEE_XIDS}; if it was taken out on purpose, delete {file}"
        yield Finding("missing", f"GPU {info.index}", f"{info.name} {info.uuid} is not there any more", fix)


def _check_unmatched(config: AgentConfig, gpus: Gpus) -> Iterator[Finding]:
    for claim in claims(config) if gpus.known else ():
        for one in unmatched(claim.gpus, gpus.known):
            detail = f"{claim.claimant} claims GPU {one}, which this machine does not have"
            yield Finding("missing", "claim", detail, "correct its `gpus` in engines.endpoints")


def _read_driver(nvml: Backend) -> Gpus:
    try:
        generation = nvml.open()
    except BackendUnavailable as error:
        return Gpus((Finding("missing", "nvidia", str(error), NO_DRIVER_FIX),))
    except Exception as error:  # noqa: BLE001 - whatever a broken driver does, the other checks must follow
        broken = Finding("missing", "nvidia", f"{type(error).__name__}: {error}", "reinstall NVIDIA's driver")
        return Gpus((broken,))
    findings = (*_describe_driver(generation), *map(_describe_gpu, generation.devices))
    slow = {device.info.uuid: _read_slow(device) for device in generation.devices}
    return Gpus(
        (*findings, *_check_processes(generation, slow)),
        tuple(device.info for device in generation.devices),
        {gpu: tuple(one.pid for one in read.processes or ()) for gpu, read in slow.items() if read},
        {one.uuid: gpu for gpu, read in slow.items() if read for one in read.mig or ()},
        generation.unidentified,
        tuple(
            device.info.uuid
            for device in generation.devices
            if is_unlisted(_read_fast(device), slow[device.info.uuid])
        ),
    )


def _check_processes(generation: Generation, slow: Mapping[str, GpuSlowReading | None]) -> Iterator[Finding]:
    """GPUs whose driver does not list the processes that compute, together."""
    silent = [
        str(device.info.index)
        for device in generation.devices
        if (read := slow[device.info.uuid]) is not None and read.processes is None
    ]
    if silent:
        yield Finding("missing", f"GPU {'+'.join(silent)}", NO_PROCESSES, PROCESSES_FIX)


def _read_slow(device: Device) -> GpuSlowReading | None:
    try:
        return device.read_slow()
    except Exception:  # noqa: BLE001 - _describe_gpu reports the GPU's failure
        return None


def _read_fast(device: Device) -> GpuReading | None:
    try:
        return device.read()
    except Exception:  # noqa: BLE001 - _describe_gpu reports the GPU's failure
        return None


def _describe_driver(generation: Generation) -> Iterator[Finding]:
    yield Finding("ok", "nvidia", f"driver {generation.driver_version}, GPUs: {len(generation.devices)}")
    if generation.unidentified:
        yield Finding("missing", "nvidia", f"GPUs without an identity: {generation.unidentified}", SEE_XIDS)


def _describe_gpu(device: Device) -> Finding:
    subject, name = f"GPU {device.info.index}", f"{device.info.name} {device.info.uuid}"
    try:
        reading = device.read()
    except GpuFailure as failure:
        return Finding("missing", subject, f"{name}: {failure}", SEE_XIDS)
    except Exception as error:  # noqa: BLE001 - one sick GPU must not hide the others
        return Finding("missing", subject, f"{name}: {type(error).__name__}: {error}", SEE_XIDS)
    return Finding("ok", subject, f"{name} reports {_reported(reading)}")


def _reported(reading: GpuReading) -> str:
    present = [name for attribute, name in READINGS if getattr(reading, attribute) is not None]
    absent = [name for attribute, name in READINGS if getattr(reading, attribute) is None]
    return ", ".join(present or ["nothing"]) + (f"; not {', '.join(absent)}" if absent else "")
