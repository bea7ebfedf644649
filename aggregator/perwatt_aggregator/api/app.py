"""HTTP API of the aggregator: its answers, and the endpoints of the service itself."""

from collections.abc import Callable

from fastapi import FastAPI, Request, Response

from perwatt_agent import __version__
from perwatt_aggregator.aggregator import Aggregator
from perwatt_aggregator.api import openapi, problems
from perwatt_aggregator.api.answering import Answering
from perwatt_aggregator.api.answers import add_answers
from perwatt_aggregator.api.endpoint import Handler, operation_name
from perwatt_aggregator.api.head import HeadAsGet
from perwatt_aggregator.api.history import add_history
from perwatt_aggregator.api.metrics import FAMILIES, state_of
from perwatt_aggregator.api.page import page_response
from perwatt_exporter.http.negotiate import OPENMETRICS, TEXT, choose_encoding, choose_offer
from perwatt_exporter.page.client_process import ClientProcessMetrics
from perwatt_exporter.page.pages import Pages

JSON = "application/json"
PLAIN = "text/plain; charset=utf-8"
_TAGS = [
    {"name": "answers", "description": "Work and energy, and their sources."},
    {"name": "service", "description": "The aggregator itself."},
]


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
    answering = Answering(aggregator.scrape_interval_seconds)
    add_answers(app, aggregator, answering)
    add_history(app, aggregator, answering)
    _add_service(app, aggregator)
    openapi.install(app)
    return app


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


def _text(app: FastAPI, path: str, description: str, *media_types: str) -> Callable[[Handler], Handler]:
    return app.get(
        path,
        tags=["service"],
        responses=openapi.answers_text(description, *media_types),
        response_class=Response,
        generate_unique_id_function=operation_name,
    )
