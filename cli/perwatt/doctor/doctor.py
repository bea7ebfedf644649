"""`perwatt doctor`: what this machine can measure, what is missing and the least that cures it."""

import os
import platform
import queue
import sys
import threading
import urllib.error
import urllib.request
from collections.abc import Iterable, Iterator, Sequence
from http.client import HTTPException
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import psutil
from msgspec import Struct

from perwatt.doctor.engine_map import check_engines, check_sight
from perwatt.findings import Finding
from perwatt.run.discovery import claims, configured, signatures, understood
from perwatt.run.metering import check_meters
from perwatt_agent.config import AgentConfig, EndpointConfig
from perwatt_agent.configfile.kinds import host_and_port
from perwatt_agent.engine.gpu_claims import absent_instances, disputes, in_words
from perwatt_agent.facts.gpu import GpuInfo, GpuReading, GpuSlowReading
from perwatt_agent.gpu.backend import Backend, BackendUnavailable, Device, Generation, GpuFailure
from perwatt_agent.meters.meter import Meter
from perwatt_exporter.http.listen import ListenError, bind

DRIVER_SECONDS = 20.0
PAGE_SECONDS = 3.0

NAME_ONE = "name one with --engine url=http://127.0.0.1:8000/metrics,workload=NAME, or in the file"
NO_DRIVER_CURE = "where there is no NVIDIA GPU, `perwatt up` shows simulated ones"

LIBRARIES = (
    "nvidia-ml-py", "msgspec", "PyYAML", "prometheus-client", "psutil",
    "isal", "uvicorn", "httptools", "uvloop", "fastapi", "aiohttp",
)  # fmt: skip

GIVES = (
    ("energy_joules", "energy counter"),
    ("power_watts", "power"),
    ("utilization_ratio", "utilisation"),
    ("memory_used_bytes", "memory"),
    ("temperature_core_celsius", "temperature"),
    ("clock_sm_hertz", "clocks"),
)
"""What one read of a GPU may bring, and what it is called here."""


class Gpus(Struct, frozen=True):
    """
    What the driver says: findings, its GPUs, the processes that compute on each, and the GPU of each MIG
    instance.
    """

    findings: tuple[Finding, ...]
    known: tuple[GpuInfo, ...] = ()
    processes: dict[str, tuple[int, ...]] = {}
    gpu_of: dict[str, str] = {}


def examine(config: AgentConfig, nvml: Backend, meters: Sequence[Meter]) -> Iterator[Finding]:
    """Every finding, as it is made; no check can stop the next."""
    yield from check_python()
    yield check_host()
    gpus = check_gpus(nvml)
    yield from gpus.findings
    yield from check_meters(meters, has_model=config.meters.model is not None)
    yield check_state_dir(config.state_dir)
    yield check_address(config.web.listen_address)
    for endpoint in config.engines.endpoints:
        yield check_endpoint(endpoint)
    yield from check_claims(config, gpus)
    found = []
    if config.engines.discover:
        yield check_sight()
        found = list(_check_engines(config, gpus))
    yield from found
    if not config.engines.endpoints and all(finding.status != "ok" for finding in found):
        yield Finding(
            "hint", "engines", "none is configured, none was found: joules, but no tokens", NAME_ONE
        )


def _check_engines(config: AgentConfig, gpus: Gpus) -> Iterator[Finding]:
    return check_engines(
        gpus.known,
        gpus.processes,
        configured(config),
        signatures=signatures(config),
        kinds=understood(config),
    )


def report(findings: Iterable[Finding]) -> int:
    """Print each finding; 0 when the agent could start here, else 1."""
    blocked = False
    for finding in findings:
        print(f"{finding.status:<8} {finding.subject:<10} {finding.detail}")
        if finding.cure:
            print(f"{'':<19} cure: {finding.cure}")
        blocked = blocked or finding.blocks
    print("perwatt agent cannot start here" if blocked else "perwatt agent can start here")
    return 1 if blocked else 0


def check_python() -> Iterator[Finding]:
    """The interpreter and the libraries."""
    running = platform.python_version()
    old = sys.version_info < (3, 10)
    cure = "install Python 3.10 or newer" if old else ""
    yield Finding("missing" if old else "ok", "python", running, cure, blocks=old)
    missing = [name for name in LIBRARIES if not _installed(name)]
    if missing:
        yield Finding("missing", "libraries", ", ".join(missing), "pip install perwatt", blocks=True)
    else:
        yield Finding("ok", "libraries", f"all {len(LIBRARIES)} installed")


def _installed(name: str) -> bool:
    try:
        return bool(version(name))
    except PackageNotFoundError:
        return False


def check_claims(config: AgentConfig, gpus: Gpus) -> Iterator[Finding]:
    """Which of the GPUs that endpoints claim they will not have; nothing where the driver told of none."""
    for dispute in disputes(claims(config), gpus.known, gpus.gpu_of):
        yield Finding("missing", f"GPU {dispute.gpu.index}", in_words(dispute))
    absent = absent_instances(claims(config), gpus.gpu_of) if gpus.known else frozenset()
    for who, mig in sorted(absent):
        yield Finding("missing", "MIG", f"{who} claims {mig}, which does not exist", "see `nvidia-smi -L`")


def check_host() -> Finding:
    """What the host is."""
    cores = psutil.cpu_count(logical=False) or psutil.cpu_count()
    gibibytes = psutil.virtual_memory().total / 2**30
    return Finding(
        "ok", "host", f"{platform.system()} {platform.release()}, {cores} cores, {gibibytes:.3g} GiB"
    )


def check_gpus(nvml: Backend, deadline_seconds: float = DRIVER_SECONDS) -> Gpus:
    """The driver, and what each GPU gives. The driver may hang: it is asked on a thread of its own."""
    answers: queue.SimpleQueue[Gpus] = queue.SimpleQueue()
    threading.Thread(target=lambda: answers.put(_ask_driver(nvml)), daemon=True).start()
    try:
        return answers.get(timeout=deadline_seconds)
    except queue.Empty:
        detail = f"the driver has not answered for {deadline_seconds:g} s"
        return Gpus((Finding("missing", "nvidia", detail, "see dmesg"),))


def _ask_driver(nvml: Backend) -> Gpus:
    try:
        generation = nvml.open()
    except BackendUnavailable as error:
        return Gpus((Finding("missing", "nvidia", str(error), NO_DRIVER_CURE),))
    except Exception as error:  # noqa: BLE001 - whatever a broken driver does, the other checks must follow
        broken = Finding("missing", "nvidia", f"{type(error).__name__}: {error}", "reinstall NVIDIA's driver")
        return Gpus((broken,))
    findings = (*_describe_driver(generation), *map(_describe_gpu, generation.devices))
    slow = {device.info.uuid: _read_slow(device) for device in generation.devices}
    return Gpus(
        findings,
        tuple(device.info for device in generation.devices),
        {gpu: tuple(one.pid for one in read.processes or ()) for gpu, read in slow.items()},
        {one.uuid: gpu for gpu, read in slow.items() for one in read.mig or ()},
    )


def _read_slow(device: Device) -> GpuSlowReading:
    try:
        return device.read_slow()
    except Exception:  # noqa: BLE001 - what ails the GPU is told already
        return GpuSlowReading(0.0)


def _describe_driver(generation: Generation) -> Iterator[Finding]:
    yield Finding("ok", "nvidia", f"driver {generation.driver_version}, {len(generation.devices)} GPUs")
    if generation.unidentified:
        detail = f"{generation.unidentified} GPUs do not say who they are"
        yield Finding("missing", "nvidia", detail, "see dmesg for Xid lines")


def _describe_gpu(device: Device) -> Finding:
    subject, name = f"GPU {device.info.index}", f"{device.info.name} {device.info.uuid}"
    try:
        reading = device.read()
    except GpuFailure as failure:
        return Finding("missing", subject, f"{name}: {failure}", "see dmesg for Xid lines")
    except Exception as error:  # noqa: BLE001 - one sick GPU must not hide the others
        return Finding("missing", subject, f"{name}: {type(error).__name__}: {error}", "see dmesg")
    return Finding("ok", subject, f"{name} gives {_given(reading)}")


def _given(reading: GpuReading) -> str:
    given = [name for attribute, name in GIVES if getattr(reading, attribute) is not None]
    absent = [name for attribute, name in GIVES if getattr(reading, attribute) is None]
    return ", ".join(given or ["nothing"]) + (f"; not {', '.join(absent)}" if absent else "")


def check_state_dir(path: Path) -> Finding:
    """Whether what must outlive a restart can be kept."""
    existing = next(parent for parent in (path, *path.parents) if parent.exists())
    if existing.is_dir() and os.access(existing, os.W_OK | os.X_OK):
        return Finding("ok", "state_dir", f"{path} can be written")
    cure = f"install -d -o {os.geteuid()} {path}, or choose another with --state-dir"
    return Finding("missing", "state_dir", f"{path} cannot be written", cure)


def check_address(address: str) -> Finding:
    """Whether the agent could listen, else who does."""
    try:
        bind(address).close()
    except ListenError as error:
        cure = "or listen elsewhere with --web.listen-address"
        return Finding("missing", "port", f"{error}{_holder(host_and_port(address)[1])}", cure, blocks=True)
    return Finding("ok", "port", f"{address} is free")


def _holder(port: int) -> str:
    try:
        for each in psutil.net_connections("tcp"):
            if each.status == psutil.CONN_LISTEN and each.pid and each.laddr and each.laddr.port == port:
                return f" (it is {psutil.Process(each.pid).name()}, process {each.pid})"
    except psutil.Error:
        pass
    return ""


def check_endpoint(endpoint: EndpointConfig) -> Finding:
    """Whether an engine's page is there."""
    subject = endpoint.workload or "engine"
    if endpoint.url is None:
        return Finding("ok", subject, f"a follower of {endpoint.group}: it has no page")
    try:
        request = urllib.request.Request(endpoint.url, headers=_authorization(endpoint))
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        with opener.open(request, timeout=PAGE_SECONDS) as response:
            return Finding("ok", subject, f"{endpoint.url} answers {response.status}")
    except urllib.error.HTTPError as error:
        error.close()
        cure = "give its token with bearer_token_file" if error.code in (401, 403) else "correct the path"
        return Finding("missing", subject, f"{endpoint.url} answers {error.code} {error.reason}", cure)
    except (OSError, HTTPException, ValueError) as error:
        reason = getattr(error, "reason", None) or error
        return Finding(
            "missing", subject, f"{endpoint.url}: {reason}", "start the engine, or correct its URL"
        )


def _authorization(endpoint: EndpointConfig) -> dict[str, str]:
    if endpoint.bearer_token_file is None:
        return {}
    return {"Authorization": f"Bearer {endpoint.bearer_token_file.read_text().strip()}"}
