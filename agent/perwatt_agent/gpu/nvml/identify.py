"""Ask every GPU who it is: one that hangs costs its own identity and nobody else's."""

import threading
import time
from collections import deque
from collections.abc import Callable, Iterable
from contextlib import suppress
from typing import Generic, TypeVar

T = TypeVar("T")

# A thread costs more than several answers, so one asks them all, and each that waits longer has its own.
PATIENCE_SECONDS = 0.02


class RollCall(Generic[T]):
    """
    Asks GPUs by their indices, on daemon threads.

    An index whose question hangs is not asked again until that has returned, in whatever generation: there
    is never more than one such thread for an index.
    """

    def __init__(self, patience_seconds: float = PATIENCE_SECONDS) -> None:
        self._patience_seconds = patience_seconds
        self._late: dict[int, _Question[T]] = {}

    @property
    def has_news(self) -> bool:
        """Whether a question that hung has returned since, so that it is worth asking again."""
        return any(not question.hangs for question in tuple(self._late.values()))

    def take(self, ask: Callable[[int], T], count: int, timeout_seconds: float) -> dict[int, T]:
        """The answers by index that came in time; what a question raised is raised."""
        hanging = {index: question for index, question in self._late.items() if question.hangs}
        asked = {index: _Question(ask, index) for index in range(count) if index not in hanging}
        waiting = deque(asked.values())
        _begin(waiting)
        _wait(asked.values(), self._patience_seconds)
        for _ in range(len(waiting)):
            _begin(waiting)
        _wait(asked.values(), timeout_seconds - self._patience_seconds)
        late = {index: question for index, question in asked.items() if question.hangs}
        self._late = hanging | late
        return {index: question.answer() for index, question in asked.items() if index not in late}


class _Question(Generic[T]):
    """One question to one GPU, which may never return."""

    def __init__(self, ask: Callable[[int], T], index: int) -> None:
        self._ask = ask
        self._index = index
        self._over = threading.Event()
        self._answer: T
        self._error: BaseException | None = None

    @property
    def hangs(self) -> bool:
        return not self._over.is_set()

    def put(self) -> None:
        try:
            self._answer = self._ask(self._index)
        except BaseException as error:  # noqa: BLE001 - raised again where the answer is read
            self._error = error.with_traceback(None)  # which would hold the question, and who asked it
        self._over.set()

    def wait(self, seconds: float) -> None:
        self._over.wait(max(0.0, seconds))

    def answer(self) -> T:
        if self._error is not None:
            raise self._error
        return self._answer


def _begin(waiting: deque[_Question[T]]) -> None:
    """Have a thread put the questions that wait, one after the other."""

    def work() -> None:
        with suppress(IndexError):  # none waits any more
            while True:
                waiting.popleft().put()

    threading.Thread(target=work, name="identify", daemon=True).start()


def _wait(questions: Iterable[_Question[T]], seconds: float) -> None:
    deadline = time.monotonic() + seconds
    for question in questions:
        question.wait(deadline - time.monotonic())
