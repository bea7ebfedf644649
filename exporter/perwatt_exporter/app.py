"""ASGI application of the agent: metrics, landing page, events, reported work, health of the process."""

from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import Any

from perwatt_agent.diagnosis.event_ring import EventRing
from perwatt_agent.facts.event import Event
from perwatt_agent.facts.snapshot import Snapshot
from perwatt_exporter.families.all import ALL
from perwatt_exporter.http.asgi import Handler, Response, Router, Scope, header, plain
from perwatt_exporter.http.negotiate import Encoding, Offer, choose_encoding, choose_offer
from perwatt_exporter.page.family import Collected, Family
from perwatt_exporter.page.pages import Pages
from perwatt_exporter.page.process import ProcessMetrics
from perwatt_exporter.routes.events import events_handler
from perwatt_exporter.routes.landing import Link, landing_page
from perwatt_exporter.routes.work import WorkTaker, work_route

LINKS: tuple[Link, ...] = (
    ("/metrics", "Metrics", "for Prometheus, as text or OpenMetrics"),
    ("/-/healthy", "Healthy", "the process lives"),
    ("/-/ready", "Ready", "the process answers"),
)


def exporter_app(
    latest: Callable[[], Snapshot],
    *,
    links: Sequence[Link] = LINKS,
    families: Sequence[Family[Snapshot]] = ALL,
    own: Callable[[], Iterable[Collected[Any]]] | None = None,
    work: WorkTaker | None = None,
    events: EventRing[Event] | None = None,
    subscribe: Callable[[Callable[[], None]], None] = lambda published: None,
) -> Router:
    """
    Build the agent's ASGI application over whatever snapshot is the latest.

    `own` yields the process's own metrics; `work` takes what jobs report, where they may; `events` is what
    happened; `subscribe` takes what is to be called after each sweep. Health is the process's alone: an
    agent whose driver is gone is the one whose metrics are needed most, and must not be restarted for it.
    """
    pages = Pages(latest, families, own or ProcessMetrics())
    subscribe(pages.prepare)
    happened: dict[str, Handler] = {} if events is None else {"/v1/events": events_handler(events)}
    return Router(
        {
            "/": lambda _: landing_page(latest(), links),
            "/metrics": metrics_handler(pages),
            "/-/healthy": lambda _: plain(200, "perwatt is healthy."),
            "/-/ready": lambda _: plain(200, "perwatt is ready."),
            **happened,
        },
        {} if work is None else {"/v1/work": work_route(work)},
    )


def metrics_handler(pages: Pages[Any]) -> Handler:
    """Serve the page in the representation that the client likes best."""

    def handle(scope: Scope) -> Response:
        offer = choose_offer(header(scope, b"accept"))
        encoding = choose_encoding(header(scope, b"accept-encoding"))
        headers = [(b"vary", b"accept, accept-encoding")]
        if encoding != "identity":
            headers.append((b"content-encoding", encoding.encode("ascii")))
        return respond(offer, encoding, tuple(headers))

    def respond(offer: Offer, encoding: Encoding, headers: tuple[tuple[bytes, bytes], ...]) -> Response:
        body = pages.body(offer.format, encoding)
        again = partial(respond, offer, encoding, headers)
        return Response(200, offer.content_type, body, headers, again)

    return handle
