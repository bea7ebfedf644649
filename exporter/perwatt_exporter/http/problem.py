"""Problem details of errors (RFC 9457): application/problem+json."""

from http import HTTPStatus

import msgspec
from msgspec import Struct

from perwatt_exporter.http.asgi import Response

MEDIA_TYPE = "application/problem+json"


class Problem(Struct, frozen=True):
    """What went wrong, and in `detail` what to do about it."""

    title: str
    status: int
    detail: str
    type: str = "about:blank"


def problem(status: int, detail: str, *headers: tuple[bytes, bytes]) -> Response:
    """Answer with a problem."""
    body = Problem(HTTPStatus(status).phrase, status, detail)
    return Response(status, MEDIA_TYPE, msgspec.json.encode(body), headers)
