"""The map of `perwatt doctor`: GPUs, the processes on them, sockets of engines, and what becomes of these."""

import asyncio
from collections.abc import Iterator, Sequence
from pathlib import Path

from perwatt.findings import Finding
from perwatt_agent.discovery.configured import Configured
from perwatt_agent.discovery.page import Page, ask
from perwatt_agent.discovery.processes import PROC, ProcessTable
from perwatt_agent.discovery.search import NOT_OURS, Found, GpuProcesses, Stranger, search
from perwatt_agent.discovery.signatures import SIGNATURES, Signature
from perwatt_agent.discovery.sockets import socket_inodes
from perwatt_agent.engine.kinds.all import ENGINES
from perwatt_agent.engine.kinds.row import EngineKind
from perwatt_agent.facts.gpu import GpuInfo

SEE_ALL = (
    "run as root, or with CAP_DAC_READ_SEARCH and CAP_SYS_PTRACE: for the systemd unit, "
    "deploy/systemd/discovery.conf"
)
NAME_IT = "name its page with --engine url=http://127.0.0.1:8000/metrics,workload=NAME, or in the file"


def check_sight(proc: Path = PROC) -> Finding:
    """Whether the owners of all listening sockets can be seen; the first process is nearly always root's."""
    if socket_inodes(proc, 1) is None:
        detail = "whose sockets are whose cannot be seen: engines of other users are not found by themselves"
        return Finding("hint", "discovery", detail, SEE_ALL)
    return Finding("ok", "discovery", "the owners of listening sockets can be seen")


def check_engines(
    known: Sequence[GpuInfo],
    gpu_processes: GpuProcesses,
    configured: Configured,
    proc: Path = PROC,
    *,
    signatures: Sequence[Signature] = SIGNATURES,
    kinds: Sequence[EngineKind] = ENGINES,
) -> Iterator[Finding]:
    """Each engine that computes on the GPUs, and why it is read or not; and whatever else computes there."""
    table = ProcessTable(proc)
    try:
        found = search(table, gpu_processes, signatures)
    except OSError as error:
        yield Finding("missing", "engines", f"processes cannot be looked at: {error}")
        return
    computing = {pid for pids in gpu_processes.values() for pid in pids}
    for engine in found.engines:
        what, subject = _described(engine, computing), _gpus(engine.gpus, known)
        objection = configured.objection(engine, known)
        if objection:
            yield Finding("ok", subject, f"{what}: left alone, {objection}")
        else:
            yield _asked(engine, subject, what, asyncio.run(_page_of(engine, table, kinds)))
    for stranger in found.strangers:
        yield _stranger(stranger, known)


def _described(found: Found, computing: set[int]) -> str:
    workers = [str(process.pid) for process in found.members if process.pid in computing]
    what = f"{found.program} (process {found.process.pid}, computing in {', '.join(workers)})"
    sockets = [f"{one.listener.address}:{one.listener.port}" for one in found.candidates]
    return what + (f" at {', '.join(sockets)}" if sockets else "")


async def _page_of(found: Found, table: ProcessTable, kinds: Sequence[EngineKind]) -> Page | str:
    return await ask(found, table.is_alive, kinds) if found.candidates else found.absence


def _asked(found: Found, subject: str, what: str, page: Page | str) -> Finding:
    if isinstance(page, Page):
        return Finding("ok", subject, f"{what}: {page.url} is read")
    if found.is_starting:
        return Finding("hint", subject, f"{what}: {page}", "wait until it serves")
    cure = f"{SEE_ALL}; or {NAME_IT}" if page == NOT_OURS else NAME_IT
    return Finding("missing", subject, f"{what}: refused, {page}", cure)


def _stranger(stranger: Stranger, known: Sequence[GpuInfo]) -> Finding:
    detail = f"{stranger.program} (process {stranger.process.pid}): refused, it is no engine that is known"
    cure = "if it is one, name its page with --engine; else let it tell of its work"
    return Finding("hint", _gpus(stranger.gpus, known), detail, cure)


def _gpus(uuids: Sequence[str], known: Sequence[GpuInfo]) -> str:
    return "GPU " + "+".join(str(info.index) for info in known if info.uuid in uuids)
