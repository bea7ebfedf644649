"""The useful unit of some work, and how much of it a joule bought."""

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
    Return output tokens where any are made, else the unit that jobs count in, else prompt tokens.

    Units never add: of jobs that count in several there is no headline. None is what is not known.
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
