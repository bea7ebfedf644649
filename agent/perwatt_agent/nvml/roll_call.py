"""Ask every GPU who it is, side by side: one that hangs costs its own identity and nobody else's."""

import threading
import time
from collections.abc import Callable
from typing import Generic, TypeVar

T = TypeVar("T")


class RollCall(Generic[T]):
    """
    Asks GPUs by their indices, on a daemon thread each.

    An index whose question hangs is not asked again until that has returned, in whatever generation: there
    is never more than one such thread for an index.
    """

    def __init__(self) -> None:
        self._late: dict[int, _Question[T]] = {}

    @property
    def has_news(self) -> bool:
        """Whether a question that hung has returned since, so that it is worth asking again."""
        return any(not question.hangs for question in tuple(self._late.values()))

    def take(self, ask: Callable[[int], T], count: int, timeout_seconds: float) -> dict[int, T]:
        """The answers by index that came in time; what a question raised is raised."""
        hanging = {index: question for index, question in self._late.items() if question.hangs}
        asked = {index: _Question(ask, index) for index in range(count) if index not in hanging}
        deadline = time.monotonic() + timeout_seconds
        for question in asked.values():
            question.wait(deadline - time.monotonic())
        late = {index: question for index, question in asked.items() if question.hangs}
        self._late = hanging | late
        return {index: question.answer() for index, question in asked.items() if index not in late}


class _Question(Generic[T]):
    """One question to one GPU, and the thread that it may keep for ever."""

    def __init__(self, ask: Callable[[int], T], index: int) -> None:
        self._ask = ask
        self._index = index
        self._answer: T
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._put, name=f"identify-{index}", daemon=True)
        self._thread.start()

    @property
    def hangs(self) -> bool:
        return self._thread.is_alive()

    def wait(self, seconds: float) -> None:
        self._thread.join(max(0.0, seconds))

    def answer(self) -> T:
        if self._error is not None:
            raise self._error
        return self._answer

    def _put(self) -> None:
        try:
            self._answer = self._ask(self._index)
        except BaseException as error:  # noqa: BLE001 - raised again where the answer is read
            self._error = error.with_traceback(None)  # which would hold the question, and who asked it
