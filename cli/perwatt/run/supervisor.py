"""Notifications to systemd: the agent is ready, and its sampling continues (sd_notify without a library)."""

import logging
import os
import socket
from collections.abc import Mapping

from perwatt_agent.facts.readings import Readings
from perwatt_agent.facts.snapshot import Snapshot

logger = logging.getLogger(__name__)

# A watchdog shorter than this many collection cycles would restart a healthy agent.
SWEEPS_IN_WATCHDOG = 4.0


class Supervisor:
    """
    Client of the service manager that started this process, where NOTIFY_SOCKET names one.

    `sampled` is called with each collection cycle before it is published, and nothing else feeds the
    watchdog. So an agent whose loop stopped is restarted; one whose driver hangs still samples, and is not.
    """

    def __init__(self, interval_seconds: float, environ: Mapping[str, str] = os.environ) -> None:
        self._address = environ.get("NOTIFY_SOCKET", "")
        self._ready = False
        self._is_reachable = True
        self._longer_watchdog = ""
        microseconds = environ.get("WATCHDOG_USEC", "")
        needed = int(SWEEPS_IN_WATCHDOG * interval_seconds * 1e6)
        if microseconds.isdecimal() and 0 < int(microseconds) < needed:
            self._longer_watchdog = f"\nWATCHDOG_USEC={needed}"

    def sampled(self, readings: Readings, snapshot: Snapshot) -> None:
        """Report one collection cycle; the agent is ready from the first one on."""
        self._send("WATCHDOG=1" if self._ready else f"READY=1{self._longer_watchdog}\nWATCHDOG=1")
        self._ready = True

    def _send(self, message: str) -> None:
        if not self._address:
            return
        # An abstract address is written with @ for its leading zero.
        address = "\0" + self._address[1:] if self._address.startswith("@") else self._address
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as notify:
                notify.setblocking(False)
                notify.sendto(message.encode(), address)
        except OSError as error:
            if self._is_reachable:
                logger.warning(
                    "cannot notify systemd at %s: %s; it may restart the agent: check NotifyAccess=",
                    self._address,
                    error,
                )
            self._is_reachable = False
        else:
            self._is_reachable = True
