"""Driver calls on one GPU. One that the GPU does not support is repeated when that may have changed."""

import logging
import math
from collections.abc import Callable, Iterable, Sequence
from typing import Any, TypeAlias

import pynvml

from perwatt_agent.clock import Clock
from perwatt_agent.gpu.nvml.driver.errors import Meaning, describe, raise_failure, raise_if_fatal

logger = logging.getLogger(__name__)

Facts: TypeAlias = dict[str, Any]
"""Fields of a reading by name. A fact that the GPU does not give is absent."""

Call: TypeAlias = Callable[[Any], Facts]
"""One driver call on a handle; raises NVMLError."""

FORBIDDEN_RETRY_SECONDS = 60.0
# What a GPU supports changes while the driver runs: with MIG, with the fabric manager, after a reset.
REFUSED_RETRY_SECONDS = 600.0


class GpuCalls:
    """
    Makes calls on one GPU, and remembers which of them it does not support until the next `reset`.

    `failed` holds the calls whose latest result was a temporary failure, and the word for it. `resets` counts
    the resets: whoever else remembers a refusal of this GPU forgets it when the count has changed.
    """

    def __init__(self, uuid: str, clock: Clock) -> None:
        self._uuid = uuid
        self._clock = clock
        self._not_before: dict[Call, float] = {}
        self._forbidden: set[str] = set()
        self._reset_at = clock.monotonic()
        self.resets = 0
        self.failed: dict[str, str] = {}

    def first(self, handle: Any, *alternatives: Call) -> Facts:
        """The facts of the first call that succeeds, among calls for the same facts; see `each`."""
        return self.each(handle, (alternatives,))

    def each(self, handle: Any, rows: Iterable[Iterable[Call]], *, vital: bool = False) -> Facts:
        """
        The facts of *rows*. Each row is the calls that can give the same facts, best first; the first call
        that succeeds counts.

        Raises GpuFailure when the GPU is lost, or when a `vital` call fails, and GenerationEnded.
        """
        facts: Facts = {}
        for alternatives in rows:
            for call in alternatives:
                if call in self._not_before and self._clock.monotonic() < self._not_before[call]:
                    continue
                if self.failed:
                    self.failed.pop(call.__name__, None)
                try:
                    facts |= call(handle)
                    break
                except pynvml.NVMLError as error:
                    code = int(error.value)
                raise_if_fatal(code, call.__name__)
                if not self._put_off(call, code):
                    if vital:
                        raise_failure(code, call.__name__)
                    self.failed[call.__name__] = describe(code).word
                    break
        return facts

    def set_result(self, call: str, code: int | None) -> None:
        """Set the result of a call that was made elsewhere: a failure's code, or None for success."""
        if code is None:
            self.failed.pop(call, None)
        else:
            self.failed[call] = describe(code).word

    def reset(self) -> None:
        """Make every call again: the GPU may now support others than before."""
        self._not_before.clear()
        self._reset_at = self._clock.monotonic()
        self.resets += 1

    def reset_if_due(self) -> None:
        """Reset every ten minutes, because most of what changes the support of a call is not reported."""
        if self._clock.monotonic() - self._reset_at >= REFUSED_RETRY_SECONDS:
            self.reset()

    def _put_off(self, call: Call, code: int) -> bool:
        """Whether the call is not to be repeated for now, so that the next alternative is tried."""
        meaning = describe(code).meaning
        if meaning is Meaning.ABSENT:
            self._not_before[call] = math.inf
        elif meaning is Meaning.FORBIDDEN:
            if call.__name__ not in self._forbidden:
                self._forbidden.add(call.__name__)
                logger.warning(
                    "GPU %s: %s is not permitted, so its values are absent; give perwatt the rights it needs",
                    self._uuid,
                    call.__name__,
                )
            self._not_before[call] = self._clock.monotonic() + FORBIDDEN_RETRY_SECONDS
        return meaning in (Meaning.ABSENT, Meaning.FORBIDDEN)


class ConstantFacts:
    """
    Facts that never change: each call is made until it succeeds, and then not again.

    A call whose value was a sentinel is made again after the calls were reset.
    """

    def __init__(self, gpu_calls: GpuCalls, calls: Sequence[Call]) -> None:
        self._calls = gpu_calls
        self._left = list(calls)
        self._without_value: list[Call] = []
        self._resets = gpu_calls.resets
        self._known: Facts = {}

    def read(self, handle: Any) -> Facts:
        if self._resets != self._calls.resets:
            self._resets = self._calls.resets
            self._left += self._without_value
            self._without_value.clear()
        for call in tuple(self._left):
            if facts := self._calls.first(handle, call):
                self._known |= facts
                self._left.remove(call)
                if None in facts.values():
                    self._without_value.append(call)
        return self._known
