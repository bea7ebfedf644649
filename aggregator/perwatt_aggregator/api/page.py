"""The page at `/`: one self-contained file that asks the API."""

from functools import lru_cache
from importlib.resources import files

from fastapi import Response

_HEADERS = {
    # Nothing is loaded from anywhere else, and the browser is told so.
    "content-security-policy": "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; "
    "connect-src 'self'; img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "x-content-type-options": "nosniff",
    "cache-control": "no-cache",
}


def page_response() -> Response:
    """Answer with the page."""
    return Response(_page(), media_type="text/html; charset=utf-8", headers=_HEADERS)


@lru_cache(maxsize=1)
def _page() -> bytes:
    return files("perwatt_aggregator.api").joinpath("page.html").read_bytes()
