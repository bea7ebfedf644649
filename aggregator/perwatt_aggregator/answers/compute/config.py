"""Compute configuration: peaks of GPUs and sizes of models, from which useful FLOPs are computed."""

from collections.abc import Iterator
from typing import Annotated, Literal, get_args

from msgspec import Struct

from perwatt_agent.configfile.loading import IsValid
from perwatt_agent.configfile.settings import Key
from perwatt_agent.configfile.value_kinds import BOOLEAN, TEXT, number, one_of

Precision = Literal["fp32", "tf32", "fp16", "bf16", "fp8", "int8", "fp4"]
PRECISIONS: tuple[Precision, ...] = get_args(Precision)

_FLOPS = number(1.0, 1e18)
_AMOUNT = number(1.0, 1e18)
_PRECISION = one_of(*PRECISIONS)


class PeakConfig(Struct, frozen=True, kw_only=True):
    """Dense peaks of GPUs by name, in FLOP/s without sparsity; they take precedence over perwatt's table."""

    gpu: Annotated[str, Key("name of the GPU in the driver; `*` matches anything", TEXT)]
    fp32: Annotated[float | None, Key("dense peak in FLOP/s, such as `67e12`", _FLOPS)] = None
    tf32: Annotated[float | None, Key("FLOP/s", _FLOPS)] = None
    fp16: Annotated[float | None, Key("FLOP/s", _FLOPS)] = None
    bf16: Annotated[float | None, Key("FLOP/s, such as `989.5e12`", _FLOPS)] = None
    fp8: Annotated[float | None, Key("FLOP/s", _FLOPS)] = None
    int8: Annotated[float | None, Key("operations per second", _FLOPS)] = None
    fp4: Annotated[float | None, Key("FLOP/s", _FLOPS)] = None
    nvlink_bytes_per_second: Annotated[
        float | None, Key("sum of all NVLinks of a GPU, in each direction", _AMOUNT)
    ] = None


class ModelConfig(Struct, frozen=True, kw_only=True):
    """
    The size of models. The first entry that matches `model` and `workload` applies. Attention counts if
    `layers`, `hidden` and `context` are set. Without `parameters_active`, the engine's own count is used.
    """

    model: Annotated[str, Key("name of the model in the engine; `*` matches anything", TEXT)] = "*"
    workload: Annotated[str, Key("name of the workload; `*` matches anything", TEXT)] = "*"
    parameters_active: Annotated[
        float | None,
        Key("parameters used per token, such as `70e9`; of experts only the active ones", _AMOUNT),
    ] = None
    layers: Annotated[float | None, Key("number of layers with attention", _AMOUNT)] = None
    hidden: Annotated[float | None, Key("number of heads times the size of a head", _AMOUNT)] = None
    context: Annotated[
        float | None,
        Key("mean number of tokens that a token attends to; in training the sequence length", _AMOUNT),
    ] = None
    precision: Annotated[
        Precision | None, Key("precision of the matrix products; default: `compute.precision`", _PRECISION)
    ] = None
    training: Annotated[
        bool, Key("whether it is trained, and its `tokens` are reported as work (docs/work.md)", BOOLEAN)
    ] = False


class ComputeConfig(Struct, frozen=True):
    """Configuration of the chain from peak to useful compute."""

    precision: Annotated[
        Precision, Key("precision of the peak, for models without one of their own", _PRECISION)
    ] = "bf16"
    peaks: Annotated[
        tuple[PeakConfig, ...], Key("peaks of GPUs, to add to or replace those that perwatt knows")
    ] = ()
    models: Annotated[
        tuple[ModelConfig, ...], Key("sizes of models; perwatt never infers them from a model's name")
    ] = ()


def check_compute(config: ComputeConfig, is_valid: IsValid) -> Iterator[tuple[str, str]]:
    """Errors between keys."""
    for index, model in enumerate(config.models):
        where = f"compute.models[{index}]"
        sizes = (model.layers, model.hidden, model.context)
        if not is_valid(where):
            continue
        if any(sizes) and not all(sizes):
            yield where, "expected layers, hidden and context together, or none of them"
        if not model.parameters_active and (any(sizes) or model.training or model.precision is None):
            yield where, "expected parameters_active; without it an entry has a precision and no more"
    for index, peak in enumerate(config.peaks):
        where = f"compute.peaks[{index}]"
        stated = any(getattr(peak, precision) for precision in PRECISIONS)
        if not stated and not peak.nvlink_bytes_per_second and is_valid(where):
            yield where, "expected a peak of at least one precision, or nvlink_bytes_per_second"
