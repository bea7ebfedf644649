"""Does DCGM monitor these GPUs? Its profiling and that of NVML disturb each other."""

import logging
import math
import threading
from pathlib import Path

from perwatt_agent.clock import Clock

logger = logging.getLogger(__name__)

_PROGRAMS = frozenset({"nv-hostengine", "dcgm-exporter"})
LOOK_SECONDS = 60.0


class HostEngineWatch:
    """
    Look for a host engine of DCGM among the processes that can be seen, once a minute.

    Without the host's PID namespace there is none to be seen. Every GPU's thread may ask.
    """

    def __init__(self, proc: Path, clock: Clock) -> None:
        self._proc = proc
        self._clock = clock
        self._lock = threading.Lock()
        self._looked_at = -math.inf
        self._found = False

    def found(self) -> bool:
        with self._lock:
            if self._clock.monotonic() - self._looked_at >= LOOK_SECONDS:
                self._looked_at = self._clock.monotonic()
                self._note(any(self._comm(entry) in _PROGRAMS for entry in self._proc.glob("[0-9]*")))
            return self._found

    def _note(self, found: bool) -> None:
        if found != self._found:
            logger.info(
                "DCGM %s: GPM readings are %s", *(("runs", "off") if found else ("is gone", "on again"))
            )
        self._found = found

    @staticmethod
    def _comm(process: Path) -> str:
        try:
            return (process / "comm").read_text(errors="replace").strip()
        except OSError:
            return ""  # it has ended
