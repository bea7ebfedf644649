"""
Sample of one agent: the counters and facts of one page, from which answers are computed.

A metrics page and a Snapshot become samples by the same code, so that both give the same answers.
"""

from typing import NamedTuple

from msgspec import Struct

from perwatt_aggregator.readings.facts import GpuFacts, WorkloadFacts

GPU_ENERGY = "perwatt_gpu_energy_joules_total"
GPU_COVERED = "perwatt_gpu_energy_covered_seconds_total"
UNATTRIBUTED = "perwatt_gpu_unattributed_energy_joules_total"
WORKLOAD_ENERGY = "perwatt_workload_energy_joules_total"
WORKLOAD_COVERED = "perwatt_workload_covered_seconds_total"
OUTPUT_TOKENS = "perwatt_output_tokens_total"
PROMPT_TOKENS = "perwatt_prompt_tokens_total"
EFFECTIVE_TOKENS = "perwatt_effective_output_tokens_total"
REQUESTS = "perwatt_requests_total"
WASTED_TOKENS = "perwatt_wasted_tokens_total"
WORK = "perwatt_work_total"
ENGINE_FLOPS = "perwatt_engine_gpu_flops_total"
TIME_TO_FIRST_TOKEN = "perwatt_time_to_first_token_seconds_bucket"
TIME_PER_OUTPUT_TOKEN = "perwatt_time_per_output_token_seconds_bucket"
NODE_ENERGY = "perwatt_node_energy_joules_total"
NODE_COVERED = "perwatt_node_energy_covered_seconds_total"
HOST_CPU_ENERGY = "perwatt_host_cpu_energy_joules_total"
HOST_DRAM_ENERGY = "perwatt_host_dram_energy_joules_total"
GPU_THROTTLED = "perwatt_gpu_throttled_seconds_total"
SM_CYCLES = "perwatt_gpu_sm_cycles_total"
PIPE_CYCLES = "perwatt_gpu_pipe_cycles_total"
PCIE_BYTES = "perwatt_gpu_pcie_bytes_total"
NVLINK_BYTES = "perwatt_gpu_nvlink_bytes_total"

COUNTERS: dict[str, str] = {
    GPU_ENERGY: "source",
    GPU_COVERED: "",
    UNATTRIBUTED: "cause",
    WORKLOAD_ENERGY: "state",
    WORKLOAD_COVERED: "",
    OUTPUT_TOKENS: "",
    PROMPT_TOKENS: "source",
    EFFECTIVE_TOKENS: "",
    REQUESTS: "outcome",
    WASTED_TOKENS: "cause",
    WORK: "unit",
    ENGINE_FLOPS: "",
    TIME_TO_FIRST_TOKEN: "le",
    TIME_PER_OUTPUT_TOKEN: "le",
    NODE_ENERGY: "source",
    NODE_COVERED: "source",
    HOST_CPU_ENERGY: "package",
    HOST_DRAM_ENERGY: "package",
    GPU_THROTTLED: "reason",
    SM_CYCLES: "state",
    PIPE_CYCLES: "pipe",
    PCIE_BYTES: "direction",
    NVLINK_BYTES: "direction",
}
"""
The counters that are kept, and the label that distinguishes the parts of each. Buckets are kept only if their
model has an objective, and only those next to it.
"""
BUCKETS = frozenset((TIME_TO_FIRST_TOKEN, TIME_PER_OUTPUT_TOKEN))


class Counter(NamedTuple):
    """A cumulative series; labels that it does not have are empty. `part` is a source, state, outcome, ..."""

    name: str
    gpu: str = ""
    workload: str = ""
    model: str = ""
    part: str = ""


class NodeSample(Struct, frozen=True):
    """
    One agent at one instant of its own clock, `unix_seconds`.

    `monotonic_seconds` is when the page was fetched, by the aggregator's clock. `meter_periods` are the
    seconds between two readings of the node's meters, by source, if the agent reports them. `events` is how
    many events there were since the agent started; None if the agent does not count them. `agent` is the
    agent's random id and `agent_start` its start; both are empty if the agent has none.
    `start_unix_seconds` is when the process that serves the page started, None if that is not known.

    `pages_in_turn` is how many pages of engines the agent refused because several processes serve them in
    turn.

    `refused` are counters with an impossible value: not finite, negative, or larger than anything counts.
    """

    unix_seconds: float
    monotonic_seconds: float
    backend: str
    backend_up: bool
    gpu_states: dict[str, int]
    gpus: dict[str, GpuFacts]
    workloads: dict[str, WorkloadFacts]
    counters: dict[Counter, float]
    meter_periods: dict[str, float] = {}
    events: float | None = None
    pages_in_turn: float = 0.0
    agent: str = ""
    agent_start: str = ""
    start_unix_seconds: float | None = None
    refused: frozenset[Counter] = frozenset()

    @property
    def listed_gpus(self) -> int:
        """How many GPUs the page counts, also those without a name."""
        return max(sum(self.gpu_states.values()), len(self.gpus))


MODEL = "model"
"""The source of node joules that are computed from the node's components, without a meter."""
