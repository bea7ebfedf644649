"""Facts that take a driver call each: asked of one GPU, and not again where it does not give them."""

import logging
import math
from collections.abc import Callable, Iterable, Sequence
from typing import Any, TypeAlias

import pynvml

from perwatt_agent.clock import Clock
from perwatt_agent.gpu.nvml.driver.errors import Meaning, describe, raise_failure, raise_if_fatal

logger = logging.getLogger(__name__)

Facts: TypeAlias = dict[str, Any]
"""Fields of a reading by name; what is not there was not given."""

Call: TypeAlias = Callable[[Any], Facts]
"""One driver call on a handle; raises NVMLError."""

FORBIDDEN_RETRY_SECONDS = 60.0


class Asker:
    """
    Asks one GPU, and remembers for the driver's generation what it does not give.

    `failed` holds the calls whose latest answer was a failure that may pass, and the word for it.
    """

    def __init__(self, uuid: str, clock: Clock) -> None:
        self._uuid = uuid
        self._clock = clock
        self._not_before: dict[Call, float] = {}
        self._forbidden: set[str] = set()
        self.failed: dict[str, str] = {}

    def ask(self, handle: Any, alternatives: Iterable[Call]) -> Facts:
        """The facts of the first call that answers, among calls for the same; see `each`."""
        return self.each(handle, (alternatives,))

    def each(self, handle: Any, rows: Iterable[Iterable[Call]], *, vital: bool = False) -> Facts:
        """
        The facts of *rows*. Each row is the calls that can give the same facts, best first; the first call
        that answers counts.

        Raises GpuFailure when the GPU is lost, or when a `vital` call fails, and GenerationEnded.
        """
        facts: Facts = {}
        for alternatives in rows:
            for call in alternatives:
                if self._not_before and self._clock.monotonic() < self._not_before.get(call, -math.inf):
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

    def note(self, call: str, code: int | None) -> None:
        """Say that a call failed which others make, or, with None, that it did not."""
        if code is None:
            self.failed.pop(call, None)
        else:
            self.failed[call] = describe(code).word

    def forget(self) -> None:
        """Ask everything anew, because the GPU has become another one in what it gives."""
        self._not_before.clear()

    def _put_off(self, call: Call, code: int) -> bool:
        """Whether the call need not be made again for now, so that another may take its place."""
        meaning = describe(code).meaning
        if meaning is Meaning.ABSENT:
            self._not_before[call] = math.inf
        elif meaning is Meaning.FORBIDDEN:
            if call.__name__ not in self._forbidden:
                self._forbidden.add(call.__name__)
                logger.warning(
                    "GPU %s: %s is not permitted, so it is absent; give perwatt more rights to have it",
                    self._uuid,
                    call.__name__,
                )
            self._not_before[call] = self._clock.monotonic() + FORBIDDEN_RETRY_SECONDS
        return meaning in (Meaning.ABSENT, Meaning.FORBIDDEN)


class Once:
    """Facts that are asked for until they came, and then told again without a call."""

    def __init__(self, asker: Asker, calls: Sequence[Call]) -> None:
        self._asker = asker
        self._left = list(calls)
        self._known: Facts = {}

    def read(self, handle: Any) -> Facts:
        for call in tuple(self._left):
            if facts := self._asker.ask(handle, (call,)):
                self._known |= facts
                self._left.remove(call)
        return self._known
