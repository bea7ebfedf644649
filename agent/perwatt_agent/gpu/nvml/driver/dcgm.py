"""DCGM detector. DCGM's profiling and NVML's (GPM) disturb each other, so GPM is not used beside it."""

import logging
import math
import os
import threading
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from perwatt_agent.clock import Clock

logger = logging.getLogger(__name__)

_PROGRAMS = frozenset({b"nv-hostengine", b"dcgm-exporter"})
_MAX_COMM_BYTES = 64
CHECK_SECONDS = 60.0


class DcgmDetector:
    """
    Looks for DCGM's host engine among the visible processes, once a minute.

    Without the host's PID namespace it is not visible. Called from the threads of all GPUs.
    """

    def __init__(self, proc: Path, clock: Clock) -> None:
        self._proc = proc
        self._clock = clock
        self._lock = threading.Lock()
        self._checked_at = -math.inf
        self._is_running = False

    def is_running(self) -> bool:
        with self._lock:
            if self._clock.monotonic() - self._checked_at >= CHECK_SECONDS:
                self._checked_at = self._clock.monotonic()
                self._update(any(comm in _PROGRAMS for comm in self._comms()))
            return self._is_running

    def _update(self, is_running: bool) -> None:
        if is_running != self._is_running:
            logger.info(
                "DCGM %s: GPM readings are %s", *(("runs", "off") if is_running else ("is gone", "on again"))
            )
        self._is_running = is_running

    def _comms(self) -> Iterator[bytes]:
        """The name of each process."""
        # With a Path for each process a scan takes four times as long.
        for pid in os.listdir(self._proc) if self._proc.is_dir() else ():  # noqa: PTH208
            if pid.isdigit():
                with suppress(OSError):  # it has ended
                    yield _read(f"{self._proc}/{pid}/comm").strip()


def _read(file: str) -> bytes:
    descriptor = os.open(file, os.O_RDONLY | os.O_CLOEXEC)
    try:
        return os.read(descriptor, _MAX_COMM_BYTES)
    finally:
        os.close(descriptor)
