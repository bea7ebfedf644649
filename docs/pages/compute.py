"""The page docs/compute.md: the steps of the chain, what must be configured, and the peaks that are known."""

from perwatt_aggregator.answers.compute.config import PRECISIONS
from perwatt_aggregator.answers.compute.peaks import TABLE, Board

PROSE = """\
# From peak to useful

<!-- Generated from perwatt_aggregator/answers/compute by `make docs`; do not edit. -->

How much of the compute that was bought works together. `GET /v1/compute?window=60s&by=workload` of the
aggregator answers with a chain for each group (`by` of `workload`, `model`, `node`, or several; `by=` is
the whole fleet), `perwatt query compute --by node` with a table.

- `peak`: the dense FLOP/s of all GPUs that were assigned, at the precision in use; from the table below, or
  from `compute.peaks`.
- `alive`: that of the GPUs that answered, while they did; from `perwatt_gpu_up`.
- `sm_active`: that of their SMs, while those were busy; from `perwatt_gpu_sm_cycles_total`, else
  `perwatt_gpu_sm_active_ratio`.
- `tensor_active`: that of their tensor cores, while those were; from `perwatt_gpu_pipe_cycles_total`, else
  `perwatt_gpu_pipe_active_ratio`.
- `model`: the models' own FLOPs, of all GPUs together; from tokens and `compute.models`, or by the engine's
  own count.

Each step has its FLOP/s, its share of the peak, its ratio to the step before, provenance, coverage, and a
verdict with all reasons (docs/validity.md). The last one's share is the **model FLOPs utilization** (MFU):
`model_flops_utilization_ratio`, the item's own `valid` and `reasons`, and, while it is valid, the metric
`perwatt_model_flops_utilization_ratio{model, window, provenance}`. Beside the chain stand the bytes over
PCIe and NVLink and the busier way's share of what those links carry.

## What must be configured

A model's name is not its size, so none is ever read out of it. Without a size MFU is null and says
`no_model_size`; the steps before it stand.

    compute:
      precision: bf16             # whose peak counts, where a model does not say
      models:
        - model: "*llama-3*70b*"  # as the engine names it
          parameters_active: 70.6e9
          layers: 80
          hidden: 8192            # heads times the size of a head
          context: 2048           # tokens attended to, on average
          precision: fp8
        - workload: "train-*"
          parameters_active: 7e9
          layers: 32
          hidden: 4096
          context: 4096
          training: true
      peaks:
        - gpu: "NVIDIA GH200*"
          bf16: 989.5e12          # dense: data sheets print twice as much, with sparsity
          nvlink_bytes_per_second: 450e9

- **Serving** takes 2 N + 4 L d s FLOPs for a token: N active parameters, L layers of width d, s tokens that
  it attends to. Output and computed prompt tokens count, cached prompt tokens do not. An engine that does
  not tell what it computed of its prompts gives `no_prompt_tokens`.
- **Training** takes three times that, 6 N + 12 L d s, and counts `tokens` that the job tells as work
  (docs/work.md). What is computed again from checkpoints is no work of the model.
- **Attention** is part of it. Without `layers`, `hidden` and `context` it is left out and the figure says
  `no_attention_term`: at a context of 64 k a small model then seems to do an eighth of what it does.
- **Experts**: the parameters that a token passes, not all that there are.
- **Precision**: what runs in fp8 is held against the peak of fp8. A GPU without that precision has no peak.
- Where no `parameters_active` is configured, the **engine's own count** is taken (provenance `engine`): vLLM
  and SGLang have one with `--enable-mfu-metrics`, shown by the agent as `perwatt_engine_gpu_flops_total`.
  It knows every request's own context, and also holds what was computed again after a preemption.

## What must be known to read it

- A **share above 1** cannot be: the size, the precision or the peak is configured wrongly. It is shown, not
  valid, with `above_peak`. A step above the one before, of which it should be a part, has
  `above_step_before`.
- **GPUs that a launch asked for and did not get** were bought: they count as assigned and never alive, at the
  peak of the others on their node.
- A **GPU with several holders** is divided equally between those that drew joules from it (`gpus_shared`).
  Its SMs are those of all of them. The members of an engine over several nodes are one (`shared_group`).
- **GPUs that nobody holds** are part of their node and of the fleet, at `compute.precision`, with no useful
  FLOPs. Where more than 5 % of the joules went to work that nobody knows, MFU is not valid (`unexplained`).
- **SM active** is not MFU: a kernel that waits for memory keeps its SM busy. Nor is utilization, the share of
  time in which any kernel ran at all, and no step of the chain.
- **The monitor** of the chip takes Hopper or newer and an agent that may read it (`gpu.gpm`); the cycles,
  which are exact over any window, a driver since 595. Without it two steps are null, and say
  `no_performance_monitor`.
- Simulated and replayed figures say so in the provenance of every step.

## Dense peaks

TeraFLOP/s (operations for int8), and gigabytes a second each way for all NVLinks of a GPU that comes with
them. Names are those of the driver, with or without `NVIDIA`; a GPU that is not here is not known, and never
taken for one with a similar name. Peaks marked * are not from a data sheet, and say `peak_uncertain`.
"""


def document() -> str:
    """The prose, then every known GPU with its peaks and where they are from."""
    header = ("GPU", *PRECISIONS, "NVLink", "source")
    lines = [header, tuple("---" for _ in header), *map(_row, TABLE)]
    return PROSE + "\n" + "\n".join(f"| {' | '.join(cells)} |" for cells in lines) + "\n"


def _row(board: Board) -> tuple[str, ...]:
    names = ", ".join(f"`{name}`" for name in board.names) + ("" if board.from_data_sheet else " *")
    peaks = (f"{board.tera[one]:g}" if one in board.tera else "" for one in PRECISIONS)
    nvlink = "" if board.nvlink_giga is None else f"{board.nvlink_giga:g}"
    return (names, *peaks, nvlink, board.source)
