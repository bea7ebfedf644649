"""Page at `/`: one self-contained file that reads the API."""

from functools import lru_cache
from importlib.resources import files

from fastapi import Response

_HEADERS = {
    # The page loads nothing from other hosts, and the browser enforces that.
    "content-security-policy": "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; "
    "connect-src 'self'; img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "x-content-type-options": "nosniff",
    "cache-control": "no-cache",
}


def page_response() -> Response:
    """The response with the page."""
    return Response(_page(), media_type="text/html; charset=utf-8", headers=_HEADERS)


@lru_cache(maxsize=1)
def _page() -> bytes:
    return files("perwatt_aggregator.api").joinpath("page.html").read_bytes()
