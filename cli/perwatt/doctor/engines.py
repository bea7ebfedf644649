"""Map of the engines on this machine: GPUs, the processes on them, their sockets, and the page of each."""

import asyncio
from collections.abc import Iterator, Sequence
from pathlib import Path

from perwatt.doctor.finding import Finding
from perwatt_agent.discovery.configured import ConfiguredEndpoints
from perwatt_agent.discovery.probe import ProbedPage, probe
from perwatt_agent.discovery.process_table import PROC, ProcessTable
from perwatt_agent.discovery.search import (
    HIDDEN_SOCKETS,
    DiscoveredEngine,
    GpuProcesses,
    UnknownProcess,
    search,
)
from perwatt_agent.discovery.sockets import socket_inodes
from perwatt_agent.discovery.visibility import obstacle
from perwatt_agent.engine.catalog import ENGINES
from perwatt_agent.engine.kind import EngineKind
from perwatt_agent.facts.gpu import GpuInfo

SEE_ALL = (
    "run as root, or with CAP_DAC_READ_SEARCH and CAP_SYS_PTRACE (for the systemd unit: "
    "deploy/systemd/discovery.conf)"
)
CONFIGURE = (
    "configure its page: --engine url=http://127.0.0.1:8000/metrics,workload=NAME, "
    "or `engines.endpoints` in the file"
)


def check_discovery_access(proc: Path = PROC) -> Finding:
    """Whether the owners of all listening sockets are visible; process 1 is nearly always root's."""
    if socket_inodes(proc, 1) is None:
        detail = (
            "cannot see which process owns a listening socket: engines of other users will not be discovered"
        )
        return Finding("hint", "discovery", detail, SEE_ALL)
    return Finding("ok", "discovery", "the owners of listening sockets are visible")


def check_visibility(
    known: Sequence[GpuInfo],
    gpu_processes: GpuProcesses,
    unlisted: Sequence[str] = (),
    proc: Path = PROC,
) -> Iterator[Finding]:
    """Whether something hides the processes on GPUs; nothing where all that are in use show theirs."""
    found = obstacle(proc)
    if found is None:
        return
    table = ProcessTable(proc)
    hidden = [gpu for gpu, pids in gpu_processes.items() if not all(map(table.is_visible, pids))]
    hidden += unlisted if found.hides_lists else ()
    if hidden:
        detail = f"its processes are hidden, so its engine is not found: {found.detail}"
        yield Finding("missing", _gpus(hidden, known), detail, found.fix)


def check_engines(
    known: Sequence[GpuInfo],
    gpu_processes: GpuProcesses,
    configured: ConfiguredEndpoints,
    proc: Path = PROC,
    *,
    kinds: Sequence[EngineKind] = ENGINES,
) -> Iterator[Finding]:
    """Each engine that computes on the GPUs, and why it is read or not; then every other program there."""
    table = ProcessTable(proc)
    try:
        found = search(table, gpu_processes, kinds)
    except OSError as error:
        yield Finding("missing", "engines", f"cannot read the process table: {error}")
        return
    computing = {pid for pids in gpu_processes.values() for pid in pids}
    for engine in found.engines:
        what, subject = _description(engine, computing), _gpus(engine.gpus, known)
        objection = configured.reason_to_skip(engine, known)
        if objection:
            yield Finding("ok", subject, f"{what}: not discovered, {objection}")
        else:
            yield _engine_finding(engine, subject, what, asyncio.run(_page_of(engine, table, kinds)))
    for stranger in found.unknown:
        yield _stranger_finding(stranger, known)


def _description(found: DiscoveredEngine, computing: set[int]) -> str:
    workers = [str(process.pid) for process in found.members if process.pid in computing]
    what = f"{found.program} (process {found.process.pid}, computing in {', '.join(workers)})"
    sockets = [f"{one.listener.address}:{one.listener.port}" for one in found.candidates]
    return what + (f" at {', '.join(sockets)}" if sockets else "")


async def _page_of(
    found: DiscoveredEngine, table: ProcessTable, kinds: Sequence[EngineKind]
) -> ProbedPage | str:
    return await probe(found, table.is_alive, kinds) if found.candidates else found.absence


def _engine_finding(found: DiscoveredEngine, subject: str, what: str, page: ProbedPage | str) -> Finding:
    if isinstance(page, ProbedPage):
        return Finding("ok", subject, f"{what}: {page.url} is read")
    if found.is_starting:
        return Finding("hint", subject, f"{what}: {page}", "wait until the engine serves")
    fix = f"{SEE_ALL}; or {CONFIGURE}" if page == HIDDEN_SOCKETS else CONFIGURE
    return Finding("missing", subject, f"{what}: not read, {page}", fix)


def _stranger_finding(stranger: UnknownProcess, known: Sequence[GpuInfo]) -> Finding:
    detail = f"{stranger.program} (process {stranger.process.pid}): not a known engine, so it is not read"
    fix = (
        "if it is an engine, configure its page with --engine; if it is a job, report its work (docs/work.md)"
    )
    return Finding("hint", _gpus(stranger.gpus, known), detail, fix)


def _gpus(uuids: Sequence[str], known: Sequence[GpuInfo]) -> str:
    return "GPU " + "+".join(str(info.index) for info in known if info.uuid in uuids)
