"""Find out whom a process works for."""

import logging
from pathlib import Path

from perwatt_agent.identity.cgroup import identity_in
from perwatt_agent.identity.identity import NOBODY, Identity

logger = logging.getLogger(__name__)

_MOST_BYTES = 64 * 1024


class Identifier:
    """Look up processes under *proc*. A failed look-up leaves what it was to find empty and never raises."""

    def __init__(self, proc: Path = Path("/proc")) -> None:
        self._proc = proc

    def identify(self, pid: int) -> Identity:
        """Return whom the process works for; all empty when it is gone or may not be looked at."""
        try:
            with (self._proc / str(pid) / "cgroup").open("rb") as file:
                content = file.read(_MOST_BYTES)
        except OSError:
            return NOBODY
        return identity_in(content.decode("utf-8", "replace"))
