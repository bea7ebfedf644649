"""The endpoints that answer with figures, and the parameters that they take."""

from collections.abc import Callable
from functools import partial
from typing import Annotated, Any

from fastapi import FastAPI, Query, Request, Response
from fastapi.params import Depends

from perwatt_aggregator.aggregator import HISTORY_SECONDS, Aggregator
from perwatt_aggregator.answers.filters import NODE_FILTERS, filters_of
from perwatt_aggregator.api.answering import Answering
from perwatt_aggregator.api.endpoint import endpoint
from perwatt_aggregator.api.examples import EFFICIENCY
from perwatt_aggregator.api.history import past_efficiency
from perwatt_aggregator.api.metrics import WINDOW
from perwatt_aggregator.api.paging import Page
from perwatt_aggregator.api.parameters import (
    ALL_BOUNDARIES,
    MIN_WINDOW_SECONDS,
    PAGE,
    Boundaries,
    boundaries_of,
    dimensions_of,
    filters,
    grouping,
    paging,
    seconds_of,
    window_pattern,
)
from perwatt_aggregator.fleet.groups import Where
from perwatt_aggregator.schema.capacity import Capacity, CapacityItem
from perwatt_aggregator.schema.common import DIMENSIONS
from perwatt_aggregator.schema.compute import Compute, ComputeItem
from perwatt_aggregator.schema.discovery import PrometheusTargets
from perwatt_aggregator.schema.efficiency import Efficiency, EfficiencyItem
from perwatt_aggregator.schema.events import Events
from perwatt_aggregator.schema.facility import Facilities, FacilityItem
from perwatt_aggregator.schema.inventory import GpuItem, Gpus, NodeItem, Nodes, WorkloadItem, Workloads
from perwatt_aggregator.schema.ledger import Ledger, LedgerItem
from perwatt_aggregator.scraping.event_log import MAX_LIMIT

MAX_KW = 1e6
MAX_WINDOW_DAYS = 731
_Window = Annotated[
    str,
    Query(
        pattern=window_pattern(int(HISTORY_SECONDS)),
        description=f"Length of the window: {MIN_WINDOW_SECONDS}s to {HISTORY_SECONDS:g}s.",
        examples=["60s", "5m"],
    ),
]
_LongWindow = Annotated[
    str,
    Query(
        pattern=window_pattern(MAX_WINDOW_DAYS * 86400),
        description=f"Length of the window: {MIN_WINDOW_SECONDS}s to {HISTORY_SECONDS:g}s, with a history up "
        f"to {MAX_WINDOW_DAYS}d.",
        examples=["60s", "24h", "30d"],
    ),
]
_Kw = Annotated[
    float | None,
    Query(ge=0.0, le=MAX_KW, description=f"Power budget in kilowatts at each boundary, 0 to {MAX_KW:g}."),
]
_Since = Annotated[
    str | None,
    Query(
        pattern="^[0-9a-f]{1,16}-[0-9]{1,16}$",
        description="The `next` of an earlier answer: only newer events are returned.",
    ),
]
_Limit = Annotated[int, Query(ge=1, le=MAX_LIMIT, description="Maximum number of events.")]


def add_answers(app: FastAPI, aggregator: Aggregator, answering: Answering) -> None:
    """All answers, in the order of their document."""
    _add_energy(app, aggregator, answering)
    _add_compute(app, aggregator, answering)
    _add_places(app, aggregator, answering)
    _add_holdings(app, aggregator, answering)
    _add_lists(app, aggregator, answering)


async def _page_of(
    aggregator: Aggregator,
    answering: Answering,
    request: Request,
    page: Page,
    seconds: float,
    kept: Where,
    answer: Callable[[Aggregator], Any],
) -> Response:
    """One page of *answer*, which is given what has the readings of the last *seconds*."""
    fleet = await aggregator.over(seconds, kept)
    return answering.page(request, page, lambda: answer(fleet), fleet.source)


def _add_energy(app: FastAPI, aggregator: Aggregator, answering: Answering) -> None:
    """Joules, and tokens over them, by groups."""
    dimensions = (*DIMENSIONS, *aggregator.labels)
    where = filters(dimensions)
    by_model, by_facility = (
        grouping(dimensions, *examples)
        for examples in (("model", "model,node"), ("facility", "node,workload"))
    )
    answer = partial(_page_of, aggregator, answering)

    @endpoint(app, "/v1/efficiency", Efficiency, {"window", "by", "boundary", *PAGE, *dimensions}, EFFICIENCY)
    async def efficiency(
        request: Request,
        kept: Annotated[Where, Depends(where)],
        page: Annotated[Page, Depends(paging(EfficiencyItem, dimensions))],
        window: _LongWindow = WINDOW,
        by: Annotated[str, by_model] = "",
        boundary: Boundaries = ALL_BOUNDARIES,
    ) -> Response:
        """Tokens per joule, by group and boundary."""
        seconds, groups, boundaries = seconds_of(window), dimensions_of(by), boundaries_of(boundary)
        if seconds > HISTORY_SECONDS:
            past = await past_efficiency(aggregator, window, groups, boundaries, kept)
            return answering.page(request, page, lambda: past)
        return await answer(
            request, page, seconds, kept, lambda fleet: fleet.efficiency(seconds, groups, boundaries, kept)
        )

    @endpoint(app, "/v1/ledger", Ledger, {"window", "by", *PAGE, *dimensions})
    async def ledger(
        request: Request,
        kept: Annotated[Where, Depends(where)],
        page: Annotated[Page, Depends(paging(LedgerItem, dimensions))],
        window: _Window = WINDOW,
        by: Annotated[str, by_facility] = "",
    ) -> Response:
        """The ledger of all joules: one tree for each group, whose leaves add up to its total."""
        seconds, groups = seconds_of(window), dimensions_of(by)
        return await answer(request, page, seconds, kept, lambda fleet: fleet.ledger(seconds, groups, kept))


def _add_compute(app: FastAPI, aggregator: Aggregator, answering: Answering) -> None:
    """What the GPUs compute, and what they could, by groups."""
    dimensions = (*DIMENSIONS, *aggregator.labels)
    where = filters(dimensions)
    by_workload, by_model = (
        grouping(dimensions, *examples) for examples in (("workload", "node,model"), ("model", "model,node"))
    )
    answer = partial(_page_of, aggregator, answering)

    @endpoint(app, "/v1/compute", Compute, {"window", "by", *PAGE, *dimensions})
    async def compute(
        request: Request,
        kept: Annotated[Where, Depends(where)],
        page: Annotated[Page, Depends(paging(ComputeItem, dimensions))],
        window: _Window = WINDOW,
        by: Annotated[str, by_workload] = "workload",
    ) -> Response:
        """The chain from the peak of the GPUs to the models' own FLOPs, for each group."""
        seconds, groups = seconds_of(window), dimensions_of(by)
        return await answer(request, page, seconds, kept, lambda fleet: fleet.compute(seconds, groups, kept))

    @endpoint(app, "/v1/capacity", Capacity, {"window", "by", "kw", *PAGE, *dimensions})
    async def capacity(
        request: Request,
        kept: Annotated[Where, Depends(where)],
        page: Annotated[Page, Depends(paging(CapacityItem, dimensions))],
        window: _Window = WINDOW,
        by: Annotated[str, by_model] = "model",
        kw: _Kw = None,
    ) -> Response:
        """Output tokens per second and day now, and at a power budget at each boundary; what binds."""
        seconds, groups = seconds_of(window), dimensions_of(by)
        return await answer(
            request, page, seconds, kept, lambda fleet: fleet.capacity(seconds, groups, kw, kept)
        )


def _add_places(app: FastAPI, aggregator: Aggregator, answering: Answering) -> None:
    """Where energy is used."""
    of_nodes = (*NODE_FILTERS, *aggregator.labels)
    answer = partial(_page_of, aggregator, answering)

    @endpoint(app, "/v1/facility", Facilities, {"window", *PAGE, *filters_of(FacilityItem)})
    async def facility(
        request: Request,
        kept: Annotated[Where, Depends(filters(filters_of(FacilityItem)))],
        page: Annotated[Page, Depends(paging(FacilityItem))],
        window: _Window = WINDOW,
    ) -> Response:
        """Every facility: its PUE, price and carbon intensity, their sources, and its energy."""
        seconds = seconds_of(window)
        return await answer(request, page, seconds, kept, lambda fleet: fleet.facility_answer(seconds, kept))

    @endpoint(app, "/v1/nodes", Nodes, {"window", *PAGE, *of_nodes})
    async def nodes(
        request: Request,
        kept: Annotated[Where, Depends(filters(of_nodes))],
        page: Annotated[Page, Depends(paging(NodeItem))],
        window: _Window = WINDOW,
    ) -> Response:
        """Every agent, whether it is up, and why not; and the sources that discover agents."""
        seconds = seconds_of(window)
        return await answer(request, page, seconds, kept, lambda fleet: fleet.node_answer(seconds, kept))


def _add_holdings(app: FastAPI, aggregator: Aggregator, answering: Answering) -> None:
    """GPUs, and who holds them."""
    of_nodes = (*NODE_FILTERS, *aggregator.labels)
    of_gpus, of_workloads = ((*of_nodes, *filters_of(item)) for item in (GpuItem, WorkloadItem))
    answer = partial(_page_of, aggregator, answering)

    @endpoint(app, "/v1/gpus", Gpus, {"window", *PAGE, *of_gpus})
    async def gpus(
        request: Request,
        kept: Annotated[Where, Depends(filters(of_gpus))],
        page: Annotated[Page, Depends(paging(GpuItem))],
        window: _Window = WINDOW,
    ) -> Response:
        """Every GPU: its state and power now, and its energy in the window."""
        seconds = seconds_of(window)
        return await answer(request, page, seconds, kept, lambda fleet: fleet.gpu_answer(seconds, kept))

    @endpoint(app, "/v1/workloads", Workloads, {"window", *PAGE, *of_workloads})
    async def workloads(
        request: Request,
        kept: Annotated[Where, Depends(filters(of_workloads))],
        page: Annotated[Page, Depends(paging(WorkloadItem))],
        window: _Window = WINDOW,
    ) -> Response:
        """Every workload: its work, and its joules by state."""
        seconds = seconds_of(window)
        return await answer(request, page, seconds, kept, lambda fleet: fleet.workload_answer(seconds, kept))


def _add_lists(app: FastAPI, aggregator: Aggregator, answering: Answering) -> None:
    """What happened, and whom Prometheus can scrape."""
    of_nodes = (*NODE_FILTERS, *aggregator.labels)

    @endpoint(app, "/v1/events", Events, {"since", "limit"})
    async def events(request: Request, since: _Since = None, limit: _Limit = 100) -> Response:
        """Events of GPUs, drivers, meters and engines on all nodes, newest first."""
        return answering.json(request, aggregator.events.answer(since, limit))

    @endpoint(app, "/v1/sd/prometheus", PrometheusTargets, {*of_nodes}, is_list=True)
    async def prometheus_targets(
        request: Request, kept: Annotated[Where, Depends(filters(of_nodes))]
    ) -> Response:
        """The agents, for `http_sd_configs` of Prometheus."""
        return answering.json(request, aggregator.prometheus_targets(kept))
