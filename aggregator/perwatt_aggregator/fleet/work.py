"""Work of a group: its counts added up, and why ratios over them are null."""

from collections.abc import Sequence

from msgspec import Struct

from perwatt_aggregator.fleet.share import ShareSums
from perwatt_aggregator.fleet.work_amounts import added
from perwatt_aggregator.window.window import Counts, SloWindow


class Work(Struct, frozen=True):
    """
    Work of several parts.

    A number in `counts` is None if not every engine counts it; output tokens are those of the engines
    that count them. `slos` are the workloads that have objectives. `spans_gpus` if the tokens were made on
    more GPUs than those of the parts, so that they are left out.
    """

    counts: Counts
    slos: tuple[SloWindow, ...]
    output_per_second: float | None
    spans_gpus: bool

    def reasons(self) -> set[str]:
        """Why ratios over this work are null."""
        counts, found = self.counts, set()
        if counts.output is None:
            found.add(self._without_output())
        elif counts.output == 0.0:
            found.add("no_output_tokens")
        if counts.output is not None and counts.effective_output is None:
            found.add("no_effective_tokens")
        if not counts.requests.get("ok"):
            found.add("no_requests")
        return found

    def _without_output(self) -> str:
        """Why there is no output to divide."""
        if self.counts.work:
            return "other_units"
        return "no_token_source" if self.prompt is None else "prompt_tokens_only"

    @property
    def prompt(self) -> float | None:
        """Prompt tokens, cached ones included if the engine counts them."""
        counts = self.counts
        return (
            None if counts.prompt_computed is None else counts.prompt_computed + (counts.prompt_cached or 0.0)
        )


def work_of(shares: Sequence[ShareSums]) -> Work:
    """
    Add up the work of *shares*.

    Tokens that are divided by no joules, neither their own nor those of their engine, are left out. If no
    part has joules, nothing is divided, and all parts count.
    """
    spans = any(one.spans_gpus for one in shares)
    several = [] if spans else [one.work for one in shares]
    if not spans and not any(one.has_joules for one in shares):
        several += [one.other_work for one in shares]
    work = added(several)
    return Work(
        counts=work.counts(),
        slos=work.slos,
        output_per_second=work.amounts.output_per_second if work.amounts.with_output else None,
        spans_gpus=spans,
    )
