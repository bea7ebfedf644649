"""Compute families: the model FLOPs utilization over the default window."""

from collections.abc import Callable, Iterator, Sequence
from typing import TypeVar

from perwatt_aggregator.schema.compute import ComputeItem
from perwatt_exporter.page.family import Family, Sample

S = TypeVar("S")
Items = Callable[[S], Sequence[ComputeItem]]


def compute_families(items: Items[S], window: str) -> tuple[Family[S], ...]:
    """The families of a page made from S, in which *items* finds the chains by model over *window*."""

    def utilization(page: S) -> Iterator[Sample]:
        for item in items(page):
            model, ratio = item.group["model"], item.model_flops_utilization_ratio
            if item.valid and ratio is not None and model is not None:
                yield (model, window, "+".join(item.provenance)), ratio

    return (
        Family(
            "perwatt_model_flops_utilization_ratio",
            "gauge",
            "FLOPs of the model itself as a share of the dense peak of its GPUs, 0 to 1, as in "
            "/v1/compute?by=model. Absent while that figure is not valid.",
            ("model", "window", "provenance"),
            utilization,
            {"window": (window,)},
        ),
    )
