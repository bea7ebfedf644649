"""DCGM detector. DCGM's profiling and NVML's (GPM) disturb each other, so GPM is not used beside it."""

import logging
import math
import threading
from pathlib import Path

from perwatt_agent.clock import Clock

logger = logging.getLogger(__name__)

_PROGRAMS = frozenset({"nv-hostengine", "dcgm-exporter"})
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
                self._update(any(self._comm(entry) in _PROGRAMS for entry in self._proc.glob("[0-9]*")))
            return self._is_running

    def _update(self, is_running: bool) -> None:
        if is_running != self._is_running:
            logger.info(
                "DCGM %s: GPM readings are %s", *(("runs", "off") if is_running else ("is gone", "on again"))
            )
        self._is_running = is_running

    @staticmethod
    def _comm(process: Path) -> str:
        try:
            return (process / "comm").read_text(errors="replace").strip()
        except OSError:
            return ""  # it has ended
