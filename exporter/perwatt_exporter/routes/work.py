"""POST /v1/work: reports of work by jobs on this machine."""

import ipaddress
import re
from collections.abc import Callable
from typing import Protocol

import msgspec

from perwatt_agent.work.job import Reporting
from perwatt_agent.work.peer import Address, user_of
from perwatt_agent.work.report import WorkAccepted, WorkRejected, WorkReport
from perwatt_exporter.http.asgi import PostRoute, Response, Scope, header
from perwatt_exporter.http.problem import problem

MAX_BODY_BYTES = 64 * 1024
SOURCE = "POST /v1/work"

_DECODER = msgspec.json.Decoder(WorkReport)
_STATUS = {"full": 429, "conflict": 409}
_CLOSE = (b"connection", b"close")


class WorkTaker(Protocol):
    """Who keeps the book: `add` raises WorkRejected, `count_rejection` hears of every report not taken."""

    def add(self, report: WorkReport, reporting: Reporting) -> WorkAccepted: ...

    def count_rejection(self, reason: str) -> None: ...


class _Refusal(Exception):
    """A request that is not taken: why, in one word and in a sentence."""

    def __init__(self, status: int, reason: str, detail: str) -> None:
        super().__init__(detail)
        self.status = status
        self.reason = reason


UserOf = Callable[[Address | None, Address | None], int | None]


def work_route(taker: WorkTaker, user_of: UserOf = user_of) -> PostRoute:
    """
    The route of reports; what was taken is answered as JSON, all else as a problem.

    `user_of` finds the user at the other end of a connection.
    """

    def handle(scope: Scope, body: bytes | None) -> Response:
        try:
            report = _report(scope, body)
            user = user_of(scope.get("client"), scope.get("server"))
            taken = taker.add(report, Reporting(SOURCE, _owner(report, user), user))
        except WorkRejected as error:
            return refuse(_Refusal(_STATUS[error.reason], error.reason, str(error)))
        except _Refusal as refusal:
            return refuse(refusal)
        return Response(200, "application/json", msgspec.json.encode(taken))

    def refuse(refusal: _Refusal) -> Response:
        taker.count_rejection(refusal.reason)
        # What is left of a body that is too large is not waited for.
        headers = (_CLOSE,) if refusal.status == 413 else ()
        return problem(refusal.status, str(refusal), *headers)

    return PostRoute(handle, _only_post, MAX_BODY_BYTES)


def _owner(report: WorkReport, user: int | None) -> str:
    """Whose places a job takes: the user's, or where the user is unknown those of jobs named alike."""
    if user is not None:
        return f"user {user}"
    return f"jobs {re.split('[^A-Za-z]', report.job, maxsplit=1)[0]}*"


def _only_post(_: Scope) -> Response:
    return problem(405, "Work is reported here, with POST.", (b"allow", b"POST"))


def _report(scope: Scope, body: bytes | None) -> WorkReport:
    """The report that a request carries. Raises _Refusal."""
    if not _is_loopback(scope.get("client")):
        raise _Refusal(
            403, "not_loopback", "Only jobs on this machine are listened to, over 127.0.0.1 or [::1]."
        )
    if header(scope, b"origin"):
        raise _Refusal(403, "browser", "Pages in a browser are not listened to.")
    media_type = header(scope, b"content-type").partition(";")[0].strip().lower()
    if media_type != "application/json" or header(scope, b"content-encoding"):
        raise _Refusal(415, "media_type", "Send application/json, without a content encoding.")
    if body is None:
        raise _Refusal(413, "too_large", f"The body is larger than {MAX_BODY_BYTES} bytes, or was cut.")
    return _decoded(body)


def _decoded(body: bytes) -> WorkReport:
    try:
        return _DECODER.decode(body)
    except msgspec.ValidationError as error:
        raise _Refusal(422, "invalid", f"{error}; docs/work.md has the fields.") from None
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise _Refusal(400, "not_json", f"The body is not JSON: {error}.") from None


def _is_loopback(client: tuple[str, int] | None) -> bool:
    """Whether the peer is on this machine; IPv4 comes as itself or mapped into IPv6."""
    try:
        address = ipaddress.ip_address(client[0] if client else "")
    except ValueError:
        return False
    mapped = getattr(address, "ipv4_mapped", None)
    return (mapped or address).is_loopback
