"""Families of workloads: identity, work, and board energy, all at the same instant."""

from collections.abc import Callable, Iterator
from typing import get_args

from perwatt_agent.facts.engine_counts import EngineCounts, WasteCause
from perwatt_agent.facts.snapshot import Snapshot
from perwatt_agent.facts.workload import Method, Role
from perwatt_exporter.page.family import Family, Sample

Count = Callable[[EngineCounts], float | None]


def _info(snapshot: Snapshot) -> Iterator[Sample]:
    for workload in snapshot.workloads:
        if not workload.info_is_final:
            continue
        info = workload.info
        yield (
            (
                info.workload,
                info.group,
                info.role,
                info.engine,
                info.k8s_namespace,
                info.k8s_pod,
                info.k8s_container,
                info.slurm_job,
                info.systemd_unit,
            ),
            1,
        )


def _up(snapshot: Snapshot) -> Iterator[Sample]:
    for workload in snapshot.workloads:
        yield (workload.info.workload,), workload.up


def _missing_gpus(snapshot: Snapshot) -> Iterator[Sample]:
    for workload in snapshot.workloads:
        if workload.missing_gpus is not None:
            yield (workload.info.workload,), workload.missing_gpus


def _count(name: str, help_text: str, count: Count) -> Family[Snapshot]:
    """A counter of the engine's own."""

    def read(snapshot: Snapshot) -> Iterator[Sample]:
        for workload in snapshot.workloads:
            counts = workload.counts
            if counts is not None and (amount := count(counts)) is not None:
                yield (workload.info.workload, counts.model), amount

    return Family(name, "counter", help_text, ("workload", "model"), read)


def _gauge(name: str, help_text: str, gauge: Count) -> Family[Snapshot]:
    """What the engine says of this moment; while its page is out of reach, nobody knows."""

    def read(snapshot: Snapshot) -> Iterator[Sample]:
        for workload in snapshot.workloads:
            counts = workload.counts if workload.up else None
            if counts is not None and (amount := gauge(counts)) is not None:
                yield (workload.info.workload, counts.model), amount

    return Family(name, "gauge", help_text, ("workload", "model"), read)


def _counts(name: str, help_text: str, label: str, parts: dict[str, Count]) -> Family[Snapshot]:
    """A counter of the engine's own in several parts, told apart by `label`."""

    def read(snapshot: Snapshot) -> Iterator[Sample]:
        for workload in snapshot.workloads:
            counts = workload.counts
            if counts is None:
                continue
            for part, count in parts.items():
                if (amount := count(counts)) is not None:
                    yield (workload.info.workload, counts.model, part), amount

    return Family(name, "counter", help_text, ("workload", "model", label), read, {label: tuple(parts)})


def _wasted(cause: WasteCause) -> Count:
    return lambda counts: counts.wasted_tokens.get(cause)


def _work(snapshot: Snapshot) -> Iterator[Sample]:
    for workload in snapshot.workloads:
        for unit, amount in workload.counts.work.items() if workload.counts else ():
            yield (workload.info.workload, unit), amount


def _energy(snapshot: Snapshot) -> Iterator[Sample]:
    for workload in snapshot.workloads:
        name = workload.info.workload
        model = "" if workload.counts is None else workload.counts.model
        for energy in workload.energy:
            yield (name, model, energy.gpu, "active"), energy.active_joules
            yield (name, model, energy.gpu, "idle"), energy.idle_joules
            yield (name, model, energy.gpu, "loading"), energy.loading_joules


def _attribution(snapshot: Snapshot) -> Iterator[Sample]:
    for workload in snapshot.workloads:
        for energy in workload.energy:
            if energy.method is not None:
                yield (workload.info.workload, energy.gpu, energy.method), 1


def _start(snapshot: Snapshot) -> Iterator[Sample]:
    for workload in snapshot.workloads:
        start = workload.counts.process_start_unix_seconds if workload.counts else None
        if start is not None:
            yield (workload.info.workload,), start


def _covered(snapshot: Snapshot) -> Iterator[Sample]:
    for workload in snapshot.workloads:
        yield (workload.info.workload,), workload.covered_seconds


FAMILIES: tuple[Family[Snapshot], ...] = (
    Family(
        "perwatt_workload_info",
        "info",
        "Static facts of the workload; `workload` joins its other series. Members of one engine that "
        "spans several nodes share a group. What is not known is empty.",
        (
            "workload",
            "group",
            "role",
            "engine",
            "k8s_namespace",
            "k8s_pod",
            "k8s_container",
            "slurm_job",
            "systemd_unit",
        ),
        _info,
        {"role": get_args(Role)},
    ),
    Family(
        "perwatt_workload_up",
        "gauge",
        "1 while the workload's engine answers, 0 while it does not; its counters then do not move.",
        ("workload",),
        _up,
    ),
    Family(
        "perwatt_workload_start_timestamp_seconds",
        "gauge",
        "When the process that counts the workload's tokens started, in Unix time. If a count falls and "
        "this does not rise, the engine did not restart. Absent where the start is not known.",
        ("workload",),
        _start,
    ),
    Family(
        "perwatt_workload_missing_gpus",
        "gauge",
        "GPUs that the workload requested and does not hold on this node. While there are any, its joules "
        "are incomplete. Absent if it is not known what it requested.",
        ("workload",),
        _missing_gpus,
    ),
    _count(
        "perwatt_output_tokens_total",
        "Tokens that the engine generated, by the engine's own count. The counter falls when the engine "
        "restarts.",
        lambda counts: counts.output_tokens,
    ),
    _counts(
        "perwatt_prompt_tokens_total",
        "Prompt tokens by how they were served: computed, or taken from the engine's cache. The two add "
        "up to all prompt tokens. What the engine does not report is absent.",
        "source",
        {
            "computed": lambda counts: counts.prompt_computed_tokens,
            "cached": lambda counts: counts.prompt_cached_tokens,
        },
    ),
    _count(
        "perwatt_effective_output_tokens_total",
        "Output tokens of requests that ended normally, by stop or by length. Absent if the engine does "
        "not report them.",
        lambda counts: counts.effective_output_tokens,
    ),
    _counts(
        "perwatt_requests_total",
        "Ended requests by outcome. An outcome is absent if the engine does not report it.",
        "outcome",
        {
            "ok": lambda counts: counts.requests_ok,
            "aborted": lambda counts: counts.requests_aborted,
            "error": lambda counts: counts.requests_error,
        },
    ),
    _gauge(
        "perwatt_requests_running",
        "Requests that the engine processes now. Absent while its page cannot be read.",
        lambda counts: counts.requests_running,
    ),
    _gauge(
        "perwatt_requests_waiting",
        "Requests that wait in the engine's queue. Absent while its page cannot be read.",
        lambda counts: counts.requests_waiting,
    ),
    _gauge(
        "perwatt_kv_cache_usage_ratio",
        "Used share of the engine's key-value cache, 0 to 1, as a mean over its replicas. Absent while "
        "its page cannot be read.",
        lambda counts: counts.kv_cache_usage_ratio,
    ),
    _counts(
        "perwatt_wasted_tokens_total",
        "Wasted tokens, computed but not delivered, by cause: output of requests that were aborted or "
        "failed, tokens computed again, drafts that were rejected. The first two are part of the output, "
        "the others are not. A cause is absent if the engine does not report it.",
        "cause",
        {cause: _wasted(cause) for cause in get_args(WasteCause)},
    ),
    _count(
        "perwatt_request_preemptions_total",
        "How often the engine took a request's cache away and had to compute it again later.",
        lambda counts: counts.preemptions,
    ),
    _count(
        "perwatt_engine_gpu_flops_total",
        "Floating-point operations of each of the engine's GPUs, by the engine's own estimate, as a mean "
        "over its ranks. Absent while the engine does not count them.",
        lambda counts: counts.flops_per_gpu,
    ),
    Family(
        "perwatt_work_total",
        "counter",
        "Useful work in the workload's own unit, such as samples, images or steps, as it reports it. "
        "Never add different units. The counter falls when the workload restarts.",
        ("workload", "unit"),
        _work,
    ),
    Family(
        "perwatt_workload_energy_joules_total",
        "counter",
        "Board energy in joules that the workload used on each GPU: active while it served, idle while it "
        "held the GPU without a request, loading before it served. It advances together with the "
        "workload's tokens, so that both describe the same time. The model is empty until the engine "
        "reports it.",
        ("workload", "model", "gpu", "state"),
        _energy,
        {"state": ("active", "idle", "loading")},
    ),
    Family(
        "perwatt_workload_attribution_info",
        "info",
        "How the workload's share of a GPU is determined now: exclusive if it holds the GPU alone; "
        "mig_activity by slices and activity of its MIG instances, mig_slice by slices alone; sm_share by "
        "the SM utilization of its processes; busy_share by which workloads have requests; equal if none "
        "of these is known.",
        ("workload", "gpu", "method"),
        _attribution,
        {"method": get_args(Method)},
    ),
    Family(
        "perwatt_workload_covered_seconds_total",
        "counter",
        "Seconds of time that both the workload's tokens and its joules cover.",
        ("workload",),
        _covered,
    ),
)
