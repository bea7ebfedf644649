"""Facts that take a driver call each: asked of one GPU, and not again where it does not give them."""

import logging
import math
from collections.abc import Callable, Iterable, Sequence
from typing import Any, TypeAlias, TypeVar

import pynvml

from perwatt_agent.clock import Clock
from perwatt_agent.gpu.nvml.driver.errors import Meaning, describe, raise_failure, raise_if_fatal

logger = logging.getLogger(__name__)

Facts: TypeAlias = dict[str, Any]
"""Fields of a reading by name; what is not there was not given."""

Call: TypeAlias = Callable[[Any], Facts]
"""One driver call on a handle; raises NVMLError."""

Answer: TypeAlias = Callable[[], Facts]
"""What the driver said, still to be understood; to be called before the driver is asked the same again."""

T = TypeVar("T")

FORBIDDEN_RETRY_SECONDS = 60.0


class Asker:
    """
    Asks one GPU, and remembers for the driver's generation what it does not give.

    `failed` holds the calls whose latest answer was a failure that may pass, and the word for it.
    """

    def __init__(self, uuid: str, clock: Clock) -> None:
        self._uuid = uuid
        self._clock = clock
        self._not_before: dict[Callable[[Any], Any], float] = {}
        self._forbidden: set[str] = set()
        self.failed: dict[str, str] = {}

    def ask(self, handle: Any, alternatives: Iterable[Call]) -> Facts:
        """The facts of the first call that answers, among calls for the same; see `each`."""
        told = self.each(handle, (alternatives,))
        return told[0] if told else {}

    def each(
        self, handle: Any, facts: Iterable[Iterable[Callable[[Any], T]]], *, vital: bool = False
    ) -> list[T]:
        """
        What is told of *facts*, each a row of calls for it, best first: of each row what the first call
        returns that answers, and nothing where none answers now.

        Raises GpuFailure when the GPU is lost, or when a `vital` call fails, and GenerationEnded.
        """
        told = []
        for alternatives in facts:
            for call in alternatives:
                if self._not_before and self._clock.monotonic() < self._not_before.get(call, -math.inf):
                    continue
                if self.failed:
                    self.failed.pop(call.__name__, None)
                try:
                    told.append(call(handle))
                    break
                except pynvml.NVMLError as error:
                    code = int(error.value)
                raise_if_fatal(code, call.__name__)
                if not self._put_off(call, code):
                    if vital:
                        raise_failure(code, call.__name__)
                    self.failed[call.__name__] = describe(code).word
                    break
        return told

    def note(self, call: str, code: int | None) -> None:
        """Say that a call failed which others make, or, with None, that it did not."""
        if code is None:
            self.failed.pop(call, None)
        else:
            self.failed[call] = describe(code).word

    def forget(self) -> None:
        """Ask everything anew, because the GPU has become another one in what it gives."""
        self._not_before.clear()

    def _put_off(self, call: Callable[[Any], Any], code: int) -> bool:
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
