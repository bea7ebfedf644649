"""Content negotiation by Accept and Accept-Encoding (RFC 9110, section 12)."""

from collections.abc import Iterator
from functools import lru_cache
from typing import Literal

from msgspec import Struct

Format = Literal["text", "openmetrics"]
Encoding = Literal["identity", "gzip"]


class Offer(Struct, frozen=True):
    """A media type that a page can be had in."""

    format: Format
    media_type: str
    version: str

    @property
    def content_type(self) -> str:
        return f"{self.media_type}; version={self.version}; charset=utf-8"


TEXT = Offer("text", "text/plain", "0.0.4")
OPENMETRICS = Offer("openmetrics", "application/openmetrics-text", "1.0.0")
# The draft that older scrapers ask for; what we write is the same in both.
OPENMETRICS_DRAFT = Offer("openmetrics", "application/openmetrics-text", "0.0.1")
OFFERS = (TEXT, OPENMETRICS, OPENMETRICS_DRAFT)


class _Range(Struct, frozen=True):
    """One element of an Accept header."""

    position: int
    name: str
    version: str
    quality: float

    def specificity(self, offer: Offer) -> int:
        """How closely the range names the offer, or -1 when it does not mean it."""
        if self.name == offer.media_type:
            return {"": 2, offer.version: 3}.get(self.version, -1)
        return {f"{offer.media_type.partition('/')[0]}/*": 1, "*/*": 0}.get(self.name, -1)


@lru_cache(maxsize=32)
def choose_offer(accept: str) -> Offer:
    """
    Choose what the client likes best; text 0.0.4 when it likes nothing that there is.

    Each offer has the quality of the range that names it most closely. Among equals the range that
    comes first in the header wins, then the plainer offer. Parameters but `version` and `q` say nothing.
    """
    ranges = tuple(_ranges(accept))
    best = max(OFFERS, key=lambda offer: _wish(offer, ranges))
    return best if _wish(best, ranges)[0] > 0 else TEXT


@lru_cache(maxsize=32)
def choose_encoding(accept_encoding: str) -> Encoding:
    """Choose gzip where the client takes it and does not like the plain page better."""
    qualities = {r.name: r.quality for r in _ranges(accept_encoding)}
    gzip = qualities.get("gzip", qualities.get("*", 0.0))
    return "gzip" if gzip > 0 and gzip >= qualities.get("identity", 0.0) else "identity"


def _wish(offer: Offer, ranges: tuple[_Range, ...]) -> tuple[float, int]:
    """How much the client wants an offer: its quality, then how early its range stands."""
    specificity, position, quality = max((r.specificity(offer), -r.position, r.quality) for r in ranges)
    return (quality, position) if specificity >= 0 else (0.0, 0)


def _ranges(header: str) -> Iterator[_Range]:
    for position, element in enumerate(header.split(",")):
        name, *rest = (part.strip().lower() for part in element.split(";"))
        parameters = dict(part.split("=", 1) for part in rest if "=" in part)
        version = parameters.get("version", "").strip('"')
        yield _Range(position, name, version, _quality(parameters.get("q", "1")))


def _quality(text: str) -> float:
    """A quality from 0 to 1; one that cannot be read refuses the range."""
    try:
        quality = float(text)
    except ValueError:
        return 0.0
    return quality if 0 <= quality <= 1 else 0.0
