"""Reasons of the chain from peak to useful compute."""

from perwatt_aggregator.validity.reason import Reason

TABLE: tuple[Reason, ...] = (
    Reason(
        "no_peak",
        True,
        "The dense peak of a GPU of this name is not known at this precision.",
        "Set it under `compute.peaks`, from the data sheet and without sparsity; check `precision`.",
    ),
    Reason(
        "no_model_size",
        True,
        "The size of a model that did work is not configured, and its engine does not count FLOPs itself.",
        "Set it under `compute.models`, or enable the engine's own count (docs/compute.md).",
    ),
    Reason(
        "no_prompt_tokens",
        True,
        "An engine does not report how many prompt tokens it computed, so its work is not known.",
        "Enable the engine's own count of FLOPs (docs/compute.md), if it has one.",
    ),
    Reason(
        "no_performance_monitor",
        True,
        "A GPU does not report how active its SMs or its tensor cores are.",
        "This needs Hopper or newer, no MIG, and no DCGM beside the agent or `gpu.gpm: on`.",
    ),
    Reason(
        "no_link_counter",
        True,
        "A GPU does not count the bytes over this link.",
        "None: the driver or the board has no such counter.",
    ),
    Reason(
        "no_link_rate",
        True,
        "The rate of a GPU's link is not known.",
        "Set `nvlink_bytes_per_second` under `compute.peaks`; PCIe reports its own rate.",
    ),
    Reason(
        "above_peak",
        True,
        "More FLOPs than the peak, or more bytes than the rate of the link: the configuration is wrong.",
        "Check the model's size and precision, and the peak; inactive experts are not active parameters.",
    ),
    Reason(
        "above_step_before",
        False,
        "A step is larger than the one before, although it is a part of it.",
        "A few percent come from clocks above those of the data sheet, or from windows that differ; for "
        "more, check the model's size and precision.",
    ),
    Reason(
        "peak_uncertain",
        False,
        "The peak in use for a GPU is not from its vendor's data sheet.",
        "Set the peak under `compute.peaks`.",
    ),
    Reason(
        "no_attention_term",
        False,
        "The model is configured without `layers`, `hidden` and `context`, so that attention is left "
        "out: the figure is too low, and for long contexts much too low.",
        "Set the three keys of the model.",
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
        "Several workloads hold a GPU: each has an equal share of its peak, and its activity is that of "
        "all of them.",
        "Group by `node`.",
    ),
)
