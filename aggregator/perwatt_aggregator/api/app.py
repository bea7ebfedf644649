"""HTTP API of the aggregator: its endpoints, and the parameters that they take."""

from collections.abc import Awaitable, Callable
from typing import Annotated, Any, TypeVar

import msgspec
from fastapi import FastAPI, Query, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.params import Depends
from fastapi.routing import APIRoute
from msgspec import Struct

from perwatt_agent import __version__
from perwatt_aggregator.aggregator import HISTORY_SECONDS, Aggregator
from perwatt_aggregator.api import openapi, problems
from perwatt_aggregator.api.examples import EFFICIENCY
from perwatt_aggregator.api.head import HeadAsGet
from perwatt_aggregator.api.metrics import FAMILIES, WINDOW, state_of
from perwatt_aggregator.api.page import page_response
from perwatt_aggregator.api.parameters import (
    MIN_WINDOW_SECONDS,
    boundaries_of,
    dimensions_of,
    list_pattern,
    seconds_of,
    window_pattern,
)
from perwatt_aggregator.schema.common import BOUNDARIES, DIMENSIONS, LEDGER_DIMENSIONS
from perwatt_aggregator.schema.compute import COMPUTE_DIMENSIONS, Compute
from perwatt_aggregator.schema.efficiency import Efficiency
from perwatt_aggregator.schema.events import Events
from perwatt_aggregator.schema.facility import Facilities
from perwatt_aggregator.schema.inventory import Gpus, Nodes, Workloads
from perwatt_aggregator.schema.ledger import Ledger
from perwatt_aggregator.scraping.event_log import MAX_LIMIT
from perwatt_exporter.http.negotiate import OPENMETRICS, TEXT, choose_encoding, choose_offer
from perwatt_exporter.page.client_process import ClientProcessMetrics
from perwatt_exporter.page.pages import Pages

_Handler = TypeVar("_Handler", bound=Callable[..., Awaitable[Response]])

JSON = "application/json"
ALL_BOUNDARIES = ",".join(BOUNDARIES)
PLAIN = "text/plain; charset=utf-8"
_TAGS = [
    {"name": "answers", "description": "Work and energy, and their sources."},
    {"name": "service", "description": "The aggregator itself."},
]

_Window = Annotated[
    str,
    Query(
        pattern=window_pattern(int(HISTORY_SECONDS)),
        description=f"Length of the window: {MIN_WINDOW_SECONDS}s to {HISTORY_SECONDS:g}s.",
        examples=["60s", "5m"],
    ),
]


def _grouping(dimensions: tuple[str, ...], *examples: str) -> Any:
    return Query(
        pattern=list_pattern(dimensions, may_be_empty=True),
        description="Dimensions to group by, separated by commas; empty for no grouping.",
        examples=list(examples),
    )


_By = Annotated[str, _grouping(DIMENSIONS, "model", "model,node")]
_LedgerBy = Annotated[str, _grouping(LEDGER_DIMENSIONS, "facility", "node,workload")]
_ComputeBy = Annotated[str, _grouping(COMPUTE_DIMENSIONS, "workload", "node,model")]
_Boundaries = Annotated[
    str,
    Query(
        pattern=list_pattern(BOUNDARIES, may_be_empty=False),
        description="Boundaries of the energy: GPU boards, nodes at their power inlets, the whole facility.",
        examples=["node", "gpu_board,facility"],
    ),
]


_Since = Annotated[
    str | None,
    Query(
        pattern="^[0-9a-f]{1,16}-[0-9]{1,16}$",
        description="The `next` of an earlier answer: only newer events are returned.",
    ),
]
_Limit = Annotated[int, Query(ge=1, le=MAX_LIMIT, description="Maximum number of events.")]


def create_app(aggregator: Aggregator) -> FastAPI:
    """The ASGI application of *aggregator*, which the caller starts and stops."""
    app = FastAPI(
        title="perwatt aggregator",
        version=__version__,
        summary="How many useful tokens does each joule buy?",
        description="For GPU boards, nodes and the whole facility; every figure has its window, coverage, "
        "provenance and validity.",
        openapi_tags=_TAGS,
        docs_url=None,  # these pages would load scripts from other hosts
        redoc_url=None,
    )
    problems.install(app)
    app.add_middleware(HeadAsGet)
    _add_answers(app, aggregator)
    _add_events(app, aggregator)
    _add_service(app, aggregator)
    openapi.install(app)
    return app


def _add_answers(app: FastAPI, aggregator: Aggregator) -> None:
    @_answer(app, "/v1/efficiency", Efficiency, {"window", "by", "boundary"}, EFFICIENCY)
    async def efficiency(
        window: _Window = WINDOW,
        by: _By = "",
        boundary: _Boundaries = ALL_BOUNDARIES,
    ) -> Response:
        """Tokens per joule, by group and boundary."""
        return _json(
            aggregator.efficiency(seconds_of(window), dimensions_of(by, DIMENSIONS), boundaries_of(boundary))
        )

    @_answer(app, "/v1/ledger", Ledger, {"window", "by"})
    async def ledger(window: _Window = WINDOW, by: _LedgerBy = "") -> Response:
        """The ledger of all joules: one tree for each group, whose leaves add up to its total."""
        return _json(aggregator.ledger(seconds_of(window), dimensions_of(by, LEDGER_DIMENSIONS)))

    @_answer(app, "/v1/compute", Compute, {"window", "by"})
    async def compute(window: _Window = WINDOW, by: _ComputeBy = "workload") -> Response:
        """The chain from the peak of the GPUs to the models' own FLOPs, for each group."""
        return _json(aggregator.compute(seconds_of(window), dimensions_of(by, COMPUTE_DIMENSIONS)))

    @_answer(app, "/v1/facility", Facilities, {"window"})
    async def facility(window: _Window = WINDOW) -> Response:
        """Every facility: its PUE, price and carbon intensity, their sources, and its energy."""
        return _json(aggregator.facility_answer(seconds_of(window)))

    @_answer(app, "/v1/nodes", Nodes, {"window"})
    async def nodes(window: _Window = WINDOW) -> Response:
        """Every configured agent, whether it is up, and why not."""
        return _json(aggregator.node_answer(seconds_of(window)))

    @_answer(app, "/v1/gpus", Gpus, {"window"})
    async def gpus(window: _Window = WINDOW) -> Response:
        """Every GPU: its state and power now, and its energy in the window."""
        return _json(aggregator.gpu_answer(seconds_of(window)))

    @_answer(app, "/v1/workloads", Workloads, {"window"})
    async def workloads(window: _Window = WINDOW) -> Response:
        """Every workload: its work, and its joules by state."""
        return _json(aggregator.workload_answer(seconds_of(window)))


def _add_events(app: FastAPI, aggregator: Aggregator) -> None:
    @_answer(app, "/v1/events", Events, {"since", "limit"})
    async def events(since: _Since = None, limit: _Limit = 100) -> Response:
        """Events of GPUs, drivers, meters and engines on all nodes, newest first."""
        return _json(aggregator.events.answer(since, limit))


def _add_service(app: FastAPI, aggregator: Aggregator) -> None:
    pages = Pages(lambda: state_of(aggregator), FAMILIES, ClientProcessMetrics())

    @_text(app, "/metrics", "Metrics for Prometheus.", TEXT.media_type, OPENMETRICS.media_type)
    async def metrics(request: Request) -> Response:
        """The aggregator's own metrics, as text or OpenMetrics."""
        offer = choose_offer(request.headers.get("accept", ""))
        encoding = choose_encoding(request.headers.get("accept-encoding", ""))
        headers = {"vary": "accept, accept-encoding", "content-type": offer.content_type}
        if encoding != "identity":
            headers["content-encoding"] = encoding
        return Response(pages.body(offer.format, encoding), headers=headers)

    @_text(app, "/-/healthy", "The process is alive.", "text/plain")
    async def healthy() -> Response:
        """Whether the process is alive."""
        return Response("perwatt is healthy.\n", media_type=PLAIN)

    @_text(app, "/-/ready", "The process is ready.", "text/plain")
    async def ready() -> Response:
        """Whether the process is ready; this does not depend on any agent."""
        return Response("perwatt is ready.\n", media_type=PLAIN)

    @_text(app, "/", "A page for browsers.", "text/html")
    async def page() -> Response:
        """The current answer, for browsers."""
        return page_response()


def _answer(
    app: FastAPI, path: str, answer: type[Struct], parameters: set[str], example: Struct | None = None
) -> Callable[[_Handler], _Handler]:
    responses = openapi.answers_with(answer, example)
    return app.get(
        path,
        tags=["answers"],
        responses=responses,
        response_class=Response,
        generate_unique_id_function=_name,
        dependencies=[Depends(_only(parameters))],
    )


def _text(app: FastAPI, path: str, description: str, *media_types: str) -> Callable[[_Handler], _Handler]:
    return app.get(
        path,
        tags=["service"],
        responses=openapi.answers_text(description, *media_types),
        response_class=Response,
        generate_unique_id_function=_name,
    )


def _name(route: APIRoute) -> str:
    """The id of an operation is the name of its function."""
    return route.name


def _only(names: set[str]) -> Callable[[Request], None]:
    """Reject unknown and repeated parameters: to ignore them would answer another request."""
    known = ", ".join(sorted(names))

    def check(request: Request) -> None:
        given = [name for name, _ in request.query_params.multi_items()]
        faults = {name: f"unknown parameter; expected one of {known}" for name in given if name not in names}
        faults |= {name: "expected at most once" for name in given if given.count(name) > 1}
        if faults:
            raise RequestValidationError(
                [{"loc": ("query", name), "msg": fault} for name, fault in faults.items()]
            )

    return check


def _json(answer: Struct) -> Response:
    return Response(msgspec.json.encode(answer), media_type=JSON, headers={"cache-control": "no-store"})
