"""Inventory answers: nodes, GPUs, workloads."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from types import MappingProxyType
from typing import Literal, TypeVar

from perwatt_agent.configfile.printable import without_secrets
from perwatt_agent.facts.gpu import GPU_STATES
from perwatt_aggregator.answers.counts import requests, tokens
from perwatt_aggregator.fleet.node import Node
from perwatt_aggregator.optional import quotient, rounded, total
from perwatt_aggregator.readings.facts import GpuFacts, WorkloadFacts
from perwatt_aggregator.readings.sample import NodeSample
from perwatt_aggregator.schema.common import PROVENANCES, Provenance
from perwatt_aggregator.schema.instants import instant, window
from perwatt_aggregator.schema.inventory import GpuItem, NodeItem, SourceItem, WorkloadItem
from perwatt_aggregator.targets.source import TargetSource
from perwatt_aggregator.validity.all import ordered
from perwatt_aggregator.window.window import Counts, GpuWindow, NodeWindow, WorkloadWindow

T = TypeVar("T")

NO_DUPLICATES: Mapping[str, str] = MappingProxyType({})


def node_items(
    nodes: Iterable[Node], seconds: float, now: float, duplicates: Mapping[str, str] = NO_DUPLICATES
) -> tuple[NodeItem, ...]:
    """One item for each configured agent, up or down; *duplicates* are left out of all sums."""
    return tuple(
        node.attempt(lambda node=node: _node(node, seconds, now, duplicates.get(node.target.node)))  # type: ignore[misc]
        for node in nodes
    )


def source_items(sources: Iterable[TargetSource]) -> tuple[SourceItem, ...]:
    """One item for each source of targets."""
    return tuple(
        SourceItem(
            setting=one.setting,
            up=one.is_up,
            known=one.is_known,
            failure=one.failure,
            targets=len(one.targets),
            last_success=None if one.last_success_unix is None else instant(one.last_success_unix),
        )
        for one in sources
    )


def gpu_items(nodes: Iterable[Node], seconds: float, now: float) -> tuple[GpuItem, ...]:
    """One item for each GPU on the newest pages, in the order of nodes and indices."""
    return tuple(item for node in nodes for item in _items(node, _gpus, seconds, now))


def workload_items(nodes: Iterable[Node], seconds: float, now: float) -> tuple[WorkloadItem, ...]:
    """One item for each workload and model."""
    return tuple(item for node in nodes for item in _items(node, _workloads, seconds, now))


def _items(
    node: Node, read: Callable[[Node, NodeWindow | None, float], Iterator[T]], seconds: float, now: float
) -> tuple[T, ...]:
    return node.attempt(lambda: tuple(read(node, node.window(seconds, now), now)))


def _node(node: Node, seconds: float, now: float, duplicate_of: str | None) -> NodeItem:
    node_window = node.window(seconds, now)
    sample = node.sample
    last_success = node.last_success_unix
    power = (
        total(gpu.power_watts for gpu in sample.gpus.values()) if sample and not node.is_stale(now) else None
    )
    meter = node_window.meter if node_window else None
    return NodeItem(
        node=node.target.node,
        url=without_secrets(node.target.url),
        labels=dict(node.target.labels),
        up=node.up,
        failure=node.failure,
        duplicate_of=duplicate_of,
        simulated=sample is not None and sample.backend == "simulated",
        backend=sample.backend if sample else None,
        backend_up=sample.backend_up if sample else None,
        last_success=None if last_success is None else instant(last_success),
        age_seconds=node.age_seconds(now),
        scrape_seconds=node.scrape_seconds,
        window=window(node_window.start_unix, node_window.end_unix) if node_window else None,
        largest_gap_seconds=node_window.largest_gap_seconds if node_window else None,
        gpus={state: sample.gpu_states.get(state, 0) for state in GPU_STATES} if sample else {},
        workloads=len(sample.workloads) if sample else 0,
        gpu_power_watts=power,
        gpu_energy_joules=total(gpu.energy_joules for gpu in node_window.gpus) if node_window else None,
        node_power_watts=meter.energy_joules / meter.seconds if meter else None,
        node_energy_joules=meter.energy_joules if meter else None,
        facility=node.facility.name,
    )


def _gpus(node: Node, node_window: NodeWindow | None, now: float) -> Iterator[GpuItem]:
    sample = node.sample
    if sample is None:
        return
    windows = {gpu.gpu: gpu for gpu in node_window.gpus} if node_window else {}
    holders: dict[str, set[str]] = {}
    for work in node_window.workloads if node_window else ():
        for gpu in work.joules:
            holders.setdefault(gpu, set()).add(work.workload)
    for facts in sorted(
        sample.gpus.values(), key=lambda facts: (facts.index is None, facts.index, facts.gpu)
    ):
        gpu_holders = tuple(sorted(holders.get(facts.gpu, ())))
        yield _gpu(node, sample, facts, node_window, windows.get(facts.gpu), gpu_holders, now)


def _gpu(
    node: Node,
    sample: NodeSample,
    facts: GpuFacts,
    node_window: NodeWindow | None,
    gpu: GpuWindow | None,
    holders: tuple[str, ...],
    now: float,
) -> GpuItem:
    # Gauges of an old reading are not current; increases of counters stay true.
    fresh = facts if not node.is_stale(now) else GpuFacts(facts.gpu)
    return GpuItem(
        gpu=facts.gpu,
        index=facts.index,
        name=facts.name,
        node=node.target.node,
        state=_state(facts, sample),
        power_watts=fresh.power_watts,
        utilization_ratio=fresh.utilization_ratio,
        memory_used_bytes=rounded(fresh.memory_used_bytes),
        memory_total_bytes=rounded(fresh.memory_total_bytes),
        window=window(node_window.start_unix, node_window.end_unix) if node_window else None,
        energy_joules=gpu.energy_joules if gpu else None,
        unattributed_joules=gpu.unattributed_joules if gpu and gpu.energy_joules is not None else None,
        provenance=_provenance(gpu.sources if gpu else (), sample.backend),
        workloads=holders,
        age_seconds=node.age_seconds(now) or 0.0,
    )


def _state(facts: GpuFacts, sample: NodeSample) -> Literal["ok", "lost", "hung", "error", "unknown"]:
    """The state of one GPU. Pages count GPUs by state: known if all GPUs that are down share one."""
    if facts.up:
        return "ok"
    down = [state for state in GPU_STATES if state != "ok" and sample.gpu_states.get(state)]
    return down[0] if len(down) == 1 else "unknown"


def _workloads(node: Node, node_window: NodeWindow | None, now: float) -> Iterator[WorkloadItem]:
    sample = node.sample
    if sample is None:
        return
    workloads: dict[str, list[WorkloadWindow]] = {}
    for work in node_window.workloads if node_window else ():
        workloads.setdefault(work.workload, []).append(work)
    for facts in sorted(sample.workloads.values(), key=lambda facts: facts.workload):
        for work in workloads.get(facts.workload, ()):
            yield _workload(node, sample, facts, node_window, work, now)
        if facts.workload not in workloads:
            yield _workload(node, sample, facts, None, None, now)


def _workload(
    node: Node,
    sample: NodeSample,
    facts: WorkloadFacts,
    node_window: NodeWindow | None,
    work: WorkloadWindow | None,
    now: float,
) -> WorkloadItem:
    counts = work.counts if work else Counts()
    joules = tuple(work.joules.values()) if work else ()
    covered = work.covered_seconds if work else 0.0
    sources = {gpu.gpu: gpu.sources for gpu in node_window.gpus} if node_window else {}
    held = tuple(work.joules) if work else ()
    return WorkloadItem(
        workload=facts.workload,
        node=node.target.node,
        model=(work.model if work else "") or None,
        engine=facts.engine or None,
        group=facts.group or None,
        role=facts.role or None,
        up=facts.up,
        gpus=held,
        window=window(work.start_unix, work.end_unix) if work else None,
        covered_seconds=covered,
        tokens=tokens(counts),
        requests=requests(counts),
        work=counts.work,
        output_tokens_per_second=quotient(counts.output, covered),
        energy_active_joules=total(one.active for one in joules),
        energy_idle_joules=total(one.idle for one in joules),
        energy_loading_joules=total(one.loading for one in joules),
        power_watts=quotient(total(one.total for one in joules), covered),
        provenance=_provenance(
            (*(source for gpu in held for source in sources.get(gpu, ())), *_estimated(facts)), sample.backend
        ),
        age_seconds=node.age_seconds(now) or 0.0,
        reasons=ordered(work.reasons if work else ()),
        namespace=facts.namespace or None,
        pod=facts.pod or None,
        slurm_job=facts.slurm_job or None,
        systemd_unit=facts.systemd_unit or None,
    )


def _provenance(sources: Iterable[str], backend: str) -> tuple[Provenance, ...]:
    found = {*sources, backend}
    return tuple(source for source in PROVENANCES if source in found)


def _estimated(facts: WorkloadFacts) -> tuple[str, ...]:
    return ("estimated",) if facts.estimated_gpus else ()
