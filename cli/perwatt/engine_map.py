"""The map of `perwatt doctor`: GPUs, the processes on them, sockets of engines, and what becomes of these."""

import asyncio
from collections.abc import Iterator, Sequence
from pathlib import Path

from perwatt.findings import Finding
from perwatt_agent.discovery.configured import Configured
from perwatt_agent.discovery.page import Page, ask
from perwatt_agent.discovery.processes import PROC, ProcessTable
from perwatt_agent.discovery.search import Found, GpuProcesses, Stranger, search
from perwatt_agent.snapshot import GpuInfo

NAME_IT = "name its page with --engine url=http://127.0.0.1:8000/metrics,workload=NAME, or in the file"


def check_engines(
    known: Sequence[GpuInfo], gpu_processes: GpuProcesses, configured: Configured, proc: Path = PROC
) -> Iterator[Finding]:
    """Each engine that computes on the GPUs, and why it is read or not; and whatever else computes there."""
    table = ProcessTable(proc)
    try:
        found = search(table, gpu_processes)
    except OSError as error:
        yield Finding("missing", "engines", f"processes cannot be looked at: {error}")
        return
    computing = {pid for pids in gpu_processes.values() for pid in pids}
    for engine in found.engines:
        yield _engine(engine, known, computing, configured, table)
    for stranger in found.strangers:
        yield _stranger(stranger, known)


def _engine(
    found: Found, known: Sequence[GpuInfo], computing: set[int], configured: Configured, table: ProcessTable
) -> Finding:
    workers = [str(process.pid) for process in found.members if process.pid in computing]
    what = f"{found.program} (process {found.process.pid}, computing in {', '.join(workers)})"
    sockets = [f"{one.listener.address}:{one.listener.port}" for one in found.candidates]
    what += f" at {', '.join(sockets)}" if sockets else ""
    subject = _gpus(found.gpus, known)
    objection = configured.objection(found, known)
    if objection:
        return Finding("ok", subject, f"{what}: left alone, {objection}")
    if found.is_starting:
        return Finding("hint", subject, f"{what}: {found.absence}", "wait until it serves")
    page = asyncio.run(ask(found, table.is_alive)) if found.candidates else found.absence
    if isinstance(page, Page):
        return Finding("ok", subject, f"{what}: {page.url} is read")
    return Finding("missing", subject, f"{what}: refused, {page}", NAME_IT)


def _stranger(stranger: Stranger, known: Sequence[GpuInfo]) -> Finding:
    detail = f"{stranger.program} (process {stranger.process.pid}): refused, it is no engine that is known"
    cure = "if it is one, name its page with --engine; else let it tell of its work"
    return Finding("hint", _gpus(stranger.gpus, known), detail, cure)


def _gpus(uuids: Sequence[str], known: Sequence[GpuInfo]) -> str:
    return "GPU " + "+".join(str(info.index) for info in known if info.uuid in uuids)
