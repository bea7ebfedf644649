"""Headline: the useful unit of the work, and how much of it one joule gives."""

from collections.abc import Mapping

from perwatt_aggregator.optional import quotient
from perwatt_aggregator.schema.efficiency import Headline

OUTPUT_TOKENS = "output_tokens"
PROMPT_TOKENS = "prompt_tokens"


def headline(
    output: float | None,
    prompt: float | None,
    units: Mapping[str, float],
    joules: float | None,
) -> Headline:
    """
    Output tokens if they are counted, else the unit of the jobs, else prompt tokens.

    Units are never added: jobs with several units have no headline.
    """
    unit, amount = _useful(output, prompt, units)
    return Headline(unit, quotient(amount, joules))


def _useful(
    output: float | None, prompt: float | None, units: Mapping[str, float]
) -> tuple[str | None, float | None]:
    if output is not None:
        return OUTPUT_TOKENS, output
    if units:
        return next(iter(units.items())) if len(units) == 1 else (None, None)
    return (None, None) if prompt is None else (PROMPT_TOKENS, prompt)
