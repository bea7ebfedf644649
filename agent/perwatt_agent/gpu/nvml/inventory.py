"""Inventory of one generation: the GPUs that are added, removed and moved while the driver runs."""

import logging
from collections import Counter as Tally

import pynvml

from perwatt_agent.gpu.backend import Generation
from perwatt_agent.gpu.nvml.device import NvmlDevice
from perwatt_agent.gpu.nvml.driver.context import Context
from perwatt_agent.gpu.nvml.driver.errors import SUCCESS, Meaning, checked, describe, unavailable
from perwatt_agent.gpu.nvml.driver.shutdown_guard import ShutdownGuard
from perwatt_agent.gpu.nvml.driver.traits import version_numbers
from perwatt_agent.gpu.nvml.events import NvmlEvents
from perwatt_agent.gpu.nvml.gpu_identity import Identity, identify
from perwatt_agent.gpu.nvml.identity_scan import IdentityScan
from perwatt_agent.gpu.nvml.presence import Presence

logger = logging.getLogger(__name__)

# A GPU that has not identified itself by then is left out until it does.
IDENTIFY_SECONDS = 2.0
# A call that has not returned by then counts as hung.
END_SECONDS = 3.0
_HANGS = "it hangs"


class NvmlInventory:
    """
    The GPUs of one generation, by UUID.

    A GPU that was removed keeps its device, whose reads fail until the GPU is back.
    """

    def __init__(self, scan: IdentityScan[Identity], context: Context) -> None:
        self.guard = ShutdownGuard()
        self._scan = scan
        self._context = context
        self._driver_version = checked("nvmlSystemGetDriverVersion", pynvml.nvmlSystemGetDriverVersion)
        self._nvml_version = checked("nvmlSystemGetNVMLVersion", pynvml.nvmlSystemGetNVMLVersion)
        self._driver = version_numbers(self._driver_version)
        self._presence = Presence(self.guard)
        self._devices: dict[str, NvmlDevice] = {}
        self._events: NvmlEvents | None = None
        self._removed: set[str] = set()
        self._unidentified: dict[int, str] = {}
        self._latest: Generation | None = None

    @property
    def is_outdated(self) -> bool:
        return self._scan.is_outdated

    def refresh(self) -> Generation:
        """The generation as it is now: the same object while nothing has changed."""
        count = checked("nvmlDeviceGetCount", pynvml.nvmlDeviceGetCount)
        identities = self._scan.run(self._identify, count, IDENTIFY_SECONDS)
        # A UUID that two GPUs have is the identity of neither.
        times = Tally(one.uuid for one in identities.values() if one.code == SUCCESS)
        found = {
            one.uuid: one
            for _, one in sorted(identities.items())
            if one.code == SUCCESS and times[one.uuid] == 1
        }
        if not found:
            _raise_if_ended(identities)
        self._log_unidentified(count, identities)
        silent = {index for index in range(count) if index not in identities}
        changed = [self._add(one) for one in found.values()]
        # A GPU that hangs where it was before is still there: its call may yet return.
        self._removed = {
            uuid
            for uuid, device in self._devices.items()
            if uuid not in found and device.info.index not in silent
        }
        for uuid in self._removed:
            self._devices[uuid].drop_handle()
        unidentified = count - len(found)
        if self._latest is None or any(changed) or unidentified != self._latest.unidentified:
            self._latest = Generation(
                self._driver_version,
                self._nvml_version,
                tuple(self._devices.values()),
                unidentified,
                self._events,
                self,
            )
        return self._latest

    def end(self) -> bool:
        """
        Allow no further driver call; False when a call hangs, so that the driver must not be shut down.

        Objects that were made in the driver are freed, unless the driver is gone and they with it.
        """
        if not self.guard.close(END_SECONDS):
            return False
        if not self._presence.ended:
            for device in self._devices.values():
                device.free()
            if self._events is not None:
                self._events.free()
        self._clear()
        return True

    def _clear(self) -> None:
        """Drop the GPUs now, not when garbage is next collected: the next generation has its own."""
        for device in self._devices.values():
            device.reset()
        self._devices = {}
        self._latest = None

    def _identify(self, index: int) -> Identity:
        places = {uuid: device.info.index for uuid, device in tuple(self._devices.items())}
        with self.guard:
            return identify(index, self._driver, places)

    def _add(self, one: Identity) -> bool:
        """Whether this GPU is new, has moved, or is back."""
        device = self._devices.get(one.uuid)
        changed = device is None or one.described is not None or one.uuid in self._removed
        if device is not None:
            device.move(one.handle, one.described[0] if one.described else device.info)
        elif one.described is not None:
            self._devices[one.uuid] = NvmlDevice(*one.described, one.handle, self._presence, self._context)
        if changed:
            self._events = self._events or NvmlEvents(self._context.clock, self.guard)
            self._events.add(one.uuid)
        return changed

    def _log_unidentified(self, count: int, identities: dict[int, Identity]) -> None:
        """Log the GPUs without identity, each once for each reason."""
        unidentified = {index: reason for index in range(count) if (reason := _reason(identities.get(index)))}
        uuids = {index: one.uuid for index, one in identities.items() if one.code == SUCCESS}
        times = Tally(uuids.values())
        unidentified |= {
            index: f"another GPU has its UUID {uuid} too" for index, uuid in uuids.items() if times[uuid] > 1
        }
        for index, reason in unidentified.items():
            if self._unidentified.get(index) != reason:
                logger.warning("GPU %d does not identify itself (%s): it may need a reset", index, reason)
        self._unidentified = unidentified


def _reason(one: Identity | None) -> str:
    """Why a GPU has no identity; empty when it has one."""
    if one is None:
        return _HANGS
    return f"{describe(one.code).word}, NVML code {one.code}" if one.code != SUCCESS else ""


def _raise_if_ended(identities: dict[int, Identity]) -> None:
    """A driver that went away is gone for all GPUs: call this only where no GPU has an identity."""
    for one in identities.values():
        if describe(one.code).meaning in (Meaning.ENDED, Meaning.MISSING):
            raise unavailable(one.code, "nvmlDeviceGetHandleByIndex")
