"""Page docs/compute.md: the steps of the chain, their configuration, and the known peaks."""

from perwatt_aggregator.answers.compute.config import PRECISIONS
from perwatt_aggregator.answers.compute.peaks import TABLE, Board

PROSE = """\
# From peak to useful

<!-- Generated from perwatt_aggregator/answers/compute by `make docs`; do not edit. -->

The share of the purchased compute that does useful work. `GET /v1/compute?window=60s&by=workload` of the
aggregator answers with a chain of steps for each group (`by` takes `workload`, `model`, `node`, or several;
`by=` is the whole fleet). `perwatt query compute --by node` prints it as a table.

- `peak`: the dense FLOP/s of all assigned GPUs, at the precision in use; from the table below, or from
  `compute.peaks`.
- `alive`: the same for GPUs that answered, while they did; from `perwatt_gpu_up`.
- `sm_active`: the same for their SMs, while those were busy; from `perwatt_gpu_sm_cycles_total`, or else
  `perwatt_gpu_sm_active_ratio`.
- `tensor_active`: the same for their tensor cores, while those were busy; from
  `perwatt_gpu_pipe_cycles_total`, or else `perwatt_gpu_pipe_active_ratio`.
- `model`: the models' own FLOPs on all GPUs together; from tokens and `compute.models`, or from the
  engine's own count.

Each step has its FLOP/s, its share of the peak, its ratio to the step before, provenance, coverage, and
validity with all reasons ([validity](validity.md)). The share of the last step is the **model FLOPs
utilization** (MFU): `model_flops_utilization_ratio`, to which the item's `valid` and `reasons` belong, and,
while it is valid, the metric `perwatt_model_flops_utilization_ratio{model, window, provenance}`. Beside the
chain are the bytes over PCIe and NVLink, and the share that the busier direction uses of what these links
can carry.

## Configuration

A model's name is not its size, so perwatt never infers a size from it. Without a size, MFU is null with the
reason `no_model_size`; the steps before it are still shown.

    compute:
      precision: bf16             # precision of the peak, for models without one of their own
      models:
        - model: "*llama-3*70b*"  # as the engine names it
          parameters_active: 70.6e9
          layers: 80
          hidden: 8192            # number of heads times the size of a head
          context: 2048           # mean number of tokens that a token attends to
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

- **Serving** takes 2 N + 4 L d s FLOPs per token: N active parameters, L layers of width d, s tokens that
  it attends to. Output tokens and computed prompt tokens count; cached prompt tokens do not. An engine that
  does not report computed prompt tokens gives the reason `no_prompt_tokens`.
- **Training** takes three times as many, 6 N + 12 L d s, and counts the `tokens` that the job reports as
  work ([work](work.md)). Recomputation from checkpoints is not work of the model.
- **Attention** is part of it. Without `layers`, `hidden` and `context` it is left out, with the reason
  `no_attention_term`. At a context of 64 k a small model then seems to do an eighth of its work.
- **Experts**: count the parameters that a token uses, not all of them.
- **Precision**: work in fp8 is compared with the peak of fp8. A GPU without that precision has no peak.
- Without `parameters_active`, the **engine's own count** is used (provenance `engine`): vLLM and SGLang
  have one with `--enable-mfu-metrics`, and the agent shows it as `perwatt_engine_gpu_flops_total`. It knows
  the context of every request, and it also includes recomputation after a preemption.

## How to read it

- A **share above 1** is impossible: the size, the precision or the peak is configured wrongly. It is shown
  as not valid, with the reason `above_peak`. A step above the one before, of which it should be a part, has
  the reason `above_step_before`.
- **GPUs that a launch requested and did not get** were bought: they count as assigned and never alive, at
  the peak of the others on their node.
- A **GPU with several holders** is divided equally between those that drew joules from it (`gpus_shared`).
  Its SM activity is that of all of them. The members of an engine over several nodes are one
  (`shared_group`).
- **GPUs that nobody holds** are part of their node and of the fleet, at `compute.precision`, with no useful
  FLOPs. If more than 5 % of the joules went to unknown work, MFU is not valid (`unexplained`).
- **SM active** is not MFU: a kernel that waits for memory keeps its SM busy. Utilization is neither; it is
  the share of time in which any kernel ran at all, and is no step of the chain.
- **The performance monitor** needs Hopper or newer and an agent with permission (`gpu.gpm`); cycle counts,
  which are exact over any window, need driver 595 or newer. Without the monitor two steps are null, with
  the reason `no_performance_monitor`.
- Simulated and replayed figures are marked in the provenance of every step.

## Dense peaks

TeraFLOP/s (for int8: operations), and gigabytes per second and direction for all NVLinks of a GPU that has
them. Names are those of the driver, with or without `NVIDIA`. A GPU that is not in the table has no known
peak; perwatt never uses that of a similar name. Peaks marked * are not from a data sheet, and have the
reason `peak_uncertain`.
"""


def document() -> str:
    """The prose, then every known GPU with its peaks and their source."""
    header = ("GPU", *PRECISIONS, "NVLink", "source")
    lines = [header, tuple("---" for _ in header), *map(_row, TABLE)]
    return PROSE + "\n" + "\n".join(f"| {' | '.join(cells)} |" for cells in lines) + "\n"


def _row(board: Board) -> tuple[str, ...]:
    names = ", ".join(f"`{name}`" for name in board.names) + ("" if board.from_data_sheet else " *")
    peaks = (f"{board.tera[one]:g}" if one in board.tera else "" for one in PRECISIONS)
    nvlink = "" if board.nvlink_giga is None else f"{board.nvlink_giga:g}"
    return (names, *peaks, nvlink, board.source)
