"""Counts as answers write them: tokens, requests and wasted tokens, in whole numbers."""

from perwatt_aggregator.optional import rounded
from perwatt_aggregator.schema.efficiency import Requests, Tokens, Wasted
from perwatt_aggregator.window.window import Counts


def tokens(counts: Counts) -> Tokens:
    """Tokens by kind; None if they are not counted."""
    return Tokens(
        output=rounded(counts.output),
        prompt_computed=rounded(counts.prompt_computed),
        prompt_cached=rounded(counts.prompt_cached),
        effective_output=rounded(counts.effective_output),
        wasted=_wasted(counts),
    )


def requests(counts: Counts) -> Requests:
    """Requests by outcome; None if they are not counted."""
    return Requests(
        ok=rounded(counts.requests.get("ok")),
        aborted=rounded(counts.requests.get("aborted")),
        error=rounded(counts.requests.get("error")),
    )


def _wasted(counts: Counts) -> Wasted:
    if counts.output is None:
        return Wasted()
    return Wasted(**{cause: rounded(counts.wasted.get(cause)) for cause in Wasted.__struct_fields__})
