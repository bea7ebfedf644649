"""Layout of a simulated page: everything on it except the numbers that change from reading to reading."""

from collections.abc import Iterator
from typing import Literal, NamedTuple

from msgspec import Struct

from perwatt.simulate.catalog import ServedModel
from perwatt.simulate.slot import EndedLife, Life, Segment, Shown, Slot

GpuOccupancy = Literal["unallocated", "loading", "serving", "paused", "down", "lost", "lost_before"]
"""State of a slot, or of a GPU that is lost: while the agent ran, or before it started."""

ENDED_STAY_SECONDS = 300.0
"""So long an ended workload stays on an agent's page."""


class WorkloadLayout(Struct, frozen=True):
    """One workload on a page; `is_counted` says whether the agent ever read its engine."""

    life: Life
    gpus: tuple[int, ...]
    is_up: bool
    is_counted: bool
    holds: bool


class Layout(Struct, frozen=True):
    """The GPUs of a node and the workloads on its page. Pages of equal layouts have the same series."""

    agent_start: float
    gpus: tuple[GpuOccupancy, ...]
    workloads: tuple[WorkloadLayout, ...]


class ShownWorkload(NamedTuple):
    """
    One workload as an agent shows it.

    Its tokens are those of the slot at `tokens_at`, less `tokens_before`; its joules are those from its birth
    to `joules_at`.
    """

    layout: WorkloadLayout
    slot: Slot
    tokens_at: float
    tokens_before: float
    joules_at: float


def shown_workloads(slot: Slot, segment: Segment, instant: float, since: float) -> Iterator[ShownWorkload]:
    """The workloads of a slot at an instant, of which those that ended before *since* are forgotten."""
    for ended in slot.ended_since(max(since, instant - ENDED_STAY_SECONDS), instant):
        yield _ended(slot, ended)
    if segment.life is not None:
        yield _living(slot, segment, segment.life, instant)


def _living(slot: Slot, segment: Segment, life: Life, instant: float) -> ShownWorkload:
    shown = slot.shown(segment, instant)
    is_read = shown is not None and shown is not segment.shown
    layout = WorkloadLayout(life, slot.gpus, is_read, shown is not None, holds=True)
    if shown is not None:
        return ShownWorkload(layout, slot, *shown, shown.instant)
    # Until its engine is read for the first time, everything that it took is for loading.
    is_serving = segment.state in ("serving", "paused")
    joules_at = min(instant, segment.engine_begin) if is_serving else instant
    return ShownWorkload(layout, slot, instant, 0.0, max(life.begin, joules_at))


def _ended(slot: Slot, ended: EndedLife) -> ShownWorkload:
    shown = ended.shown
    layout = WorkloadLayout(ended.life, slot.gpus, is_up=False, is_counted=shown is not None, holds=False)
    return ShownWorkload(layout, slot, *(shown or Shown(ended.end, 0.0)), ended.end)


def numbers_of_requests(model: ServedModel, tokens: float) -> tuple[float, float]:
    """Requests that ended well, and those that were aborted, after so many output tokens."""
    requests = tokens / model.output_tokens_per_request
    return requests * (1.0 - model.aborted_ratio), requests * model.aborted_ratio
