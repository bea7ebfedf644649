"""Ask every GPU who it is, side by side: one that hangs costs its own identity and nobody else's."""

import threading
import time
from collections.abc import Callable
from typing import Generic, TypeVar

T = TypeVar("T")


class RollCall(Generic[T]):
    """
    The answers of `count` GPUs, asked on a daemon thread each.

    `answers` are in order of index, None for each that did not answer within `timeout_seconds`; what
    an answer raised is raised. While any of them `hangs`, the driver must not be shut down.
    """

    def __init__(self, ask: Callable[[int], T | None], count: int, timeout_seconds: float) -> None:
        self._ask = ask
        self._answers: list[T | BaseException | None] = [None] * count
        self._threads = [
            threading.Thread(target=self._call, args=(index,), name=f"identify-{index}", daemon=True)
            for index in range(count)
        ]
        deadline = time.monotonic() + timeout_seconds
        for thread in self._threads:
            thread.start()
        for thread in self._threads:
            thread.join(max(0.0, deadline - time.monotonic()))

    @property
    def hangs(self) -> bool:
        return any(thread.is_alive() for thread in self._threads)

    @property
    def answers(self) -> list[T | None]:
        answers: list[T | None] = []
        for answer in tuple(self._answers):
            if isinstance(answer, BaseException):
                raise answer
            answers.append(answer)
        return answers

    def _call(self, index: int) -> None:
        try:
            self._answers[index] = self._ask(index)
        except BaseException as error:  # noqa: BLE001 - raised again where the answers are read
            self._answers[index] = error
