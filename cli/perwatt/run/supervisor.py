"""Tell systemd that the agent is ready, and that its sampling goes on (sd_notify, without its library)."""

import logging
import os
import socket
from collections.abc import Mapping

from perwatt_agent.facts.readings import Readings
from perwatt_agent.facts.snapshot import Snapshot

logger = logging.getLogger(__name__)

# A watchdog that bites before this many sweeps could have come would bite a healthy agent.
SWEEPS_IN_WATCHDOG = 4.0


class Supervisor:
    """
    Speaks to whoever started this process, if that is one who listens.

    `sampled` is told each sweep before it is published, and is all that feeds the watchdog: an agent whose
    loop stands still is started anew, while one whose driver hangs samples on and is not.
    """

    def __init__(self, interval_seconds: float, environ: Mapping[str, str] = os.environ) -> None:
        self._address = environ.get("NOTIFY_SOCKET", "")
        self._ready = False
        self._heard = True
        self._patience = ""
        microseconds = environ.get("WATCHDOG_USEC", "")
        needed = int(SWEEPS_IN_WATCHDOG * interval_seconds * 1e6)
        if microseconds.isdecimal() and 0 < int(microseconds) < needed:
            self._patience = f"\nWATCHDOG_USEC={needed}"

    def sampled(self, readings: Readings, snapshot: Snapshot) -> None:
        """A sweep came: the agent is ready from the first one on."""
        self._say("WATCHDOG=1" if self._ready else f"READY=1{self._patience}\nWATCHDOG=1")
        self._ready = True

    def _say(self, message: str) -> None:
        if not self._address:
            return
        # An abstract address is written with @ for its leading zero.
        address = "\0" + self._address[1:] if self._address.startswith("@") else self._address
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as notify:
                notify.setblocking(False)
                notify.sendto(message.encode(), address)
        except OSError as error:
            if self._heard:
                logger.warning("the supervisor at %s does not listen: %s", self._address, error)
            self._heard = False
        else:
            self._heard = True
