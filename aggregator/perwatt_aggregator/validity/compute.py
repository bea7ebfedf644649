"""Reasons of the chain from peak to useful compute."""

from perwatt_aggregator.validity.reason import Reason

TABLE: tuple[Reason, ...] = (
    Reason(
        "no_peak",
        True,
        "No dense peak is known for a GPU of this name at this precision.",
        "State it under `compute.peaks`, from the data sheet and without sparsity; check `precision`.",
    ),
    Reason(
        "no_model_size",
        True,
        "The size of a model that did work is not configured, and its engine counts no FLOPs itself.",
        "State it under `compute.models`, or switch on the engine's own count (docs/compute.md).",
    ),
    Reason(
        "no_prompt_tokens",
        True,
        "An engine does not tell how many prompt tokens it computed, so that its work is not known.",
        "Switch on the engine's own count of FLOPs (docs/compute.md), where it has one.",
    ),
    Reason(
        "no_performance_monitor",
        True,
        "A GPU does not tell how much of its SMs or of its tensor cores was at work.",
        "It takes Hopper or newer, no MIG, and no DCGM beside the agent or `gpu.gpm: on`.",
    ),
    Reason(
        "no_link_counter",
        True,
        "A GPU does not count the bytes that go over this link.",
        "Nothing: the driver or the board has no such counter.",
    ),
    Reason(
        "no_link_rate",
        True,
        "It is not known how much a GPU's link could carry.",
        "State `nvlink_bytes_per_second` under `compute.peaks`; PCIe tells its own.",
    ),
    Reason(
        "above_peak",
        True,
        "More FLOPs than the peak allows, or more bytes than the link carries: what is configured is wrong.",
        "Check the model's size and precision, and the peak; experts that rest are no active parameters.",
    ),
    Reason(
        "above_step_before",
        False,
        "A step is larger than the one before, of which it should be a part.",
        "A few percent are clocks above those of the data sheet, or windows that differ; else check the "
        "model's size and precision.",
    ),
    Reason(
        "peak_uncertain",
        False,
        "The peak in use for a GPU is not from its vendor's data sheet.",
        "State the right one under `compute.peaks`.",
    ),
    Reason(
        "no_attention_term",
        False,
        "The model is configured without `layers`, `hidden` and `context`, so that attention is left out and "
        "the figure is too low, in long contexts much too low.",
        "Configure the three for the model.",
    ),
    Reason(
        "several_precisions",
        False,
        "The figure adds peaks of different precisions.",
        "Group by `model` or by `workload`.",
    ),
    Reason(
        "gpus_shared",
        False,
        "Several workloads hold a GPU: each has an equal share of its peak, and its activity is that of all.",
        "Group by `node`.",
    ),
)
