"""Log filter: each fault of the application once, then a count."""

import logging
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

MAX_FAULTS = 256
LOGGER = "uvicorn.error"

Fault = tuple[str, str, str, int]
"""Message, and the type and place of the exception."""


class FaultFilter(logging.Filter):
    """
    Passes a fault the first time, and then when its count is a power of ten, without its traceback.

    Whoever can provoke a fault can do it for ever, and must not fill the log.
    """

    def __init__(self) -> None:
        super().__init__()
        self._counts: Counter[Fault] = Counter()

    def filter(self, record: logging.LogRecord) -> bool:
        fault = _fault(record)
        if fault not in self._counts and len(self._counts) >= MAX_FAULTS:
            self._counts.clear()
        self._counts[fault] += 1
        count = self._counts[fault]
        if count == 1:
            return True
        if str(count).strip("0") != "1":
            return False
        record.msg, record.args = f"{record.getMessage().strip()} ({count} times so far)", ()
        record.exc_info = record.exc_text = None
        return True


def _fault(record: logging.LogRecord) -> Fault:
    error, place, line = None, record.pathname, record.lineno
    if record.exc_info and record.exc_info[1]:
        error = record.exc_info[1]
        trace = error.__traceback__
        while trace is not None and trace.tb_next is not None:
            trace = trace.tb_next
        if trace is not None:
            place, line = trace.tb_frame.f_code.co_filename, trace.tb_lineno
    return str(record.msg), type(error).__name__, place, line


@contextmanager
def filtered() -> Iterator[None]:
    """Filter what the server logs while it serves."""
    logger, counting = logging.getLogger(LOGGER), FaultFilter()
    logger.addFilter(counting)
    try:
        yield
    finally:
        logger.removeFilter(counting)
