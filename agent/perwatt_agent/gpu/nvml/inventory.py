"""The GPUs of one generation, counted again now and then: they come, go and move while the driver lives."""

import logging

import pynvml

from perwatt_agent.gpu.backend import Generation
from perwatt_agent.gpu.nvml.device import NvmlDevice, Roll
from perwatt_agent.gpu.nvml.driver.context import Tools
from perwatt_agent.gpu.nvml.driver.errors import SUCCESS, Meaning, checked, describe, unavailable
from perwatt_agent.gpu.nvml.driver.gate import Gate
from perwatt_agent.gpu.nvml.driver.traits import version_numbers
from perwatt_agent.gpu.nvml.events import NvmlWatch
from perwatt_agent.gpu.nvml.gpu_identity import Identity, identify
from perwatt_agent.gpu.nvml.identify import RollCall

logger = logging.getLogger(__name__)

# A GPU that does not say who it is by then is left out until it does.
IDENTIFY_SECONDS = 2.0
# A call that has not returned by then never will.
END_SECONDS = 3.0
_HANGS = "it hangs"


class Census:
    """
    Which GPUs there are, each known by its UUID; the roster of one generation.

    A GPU that went keeps its device, which says that it is lost, and goes on when it is back.
    """

    def __init__(self, roll_call: RollCall[Identity], tools: Tools) -> None:
        self.gate = Gate()
        self._roll_call = roll_call
        self._tools = tools
        self._driver_version = checked("nvmlSystemGetDriverVersion", pynvml.nvmlSystemGetDriverVersion)
        self._nvml_version = checked("nvmlSystemGetNVMLVersion", pynvml.nvmlSystemGetNVMLVersion)
        self._driver = version_numbers(self._driver_version)
        self._roll = Roll(self.gate)
        self._devices: dict[str, NvmlDevice] = {}
        self._watch: NvmlWatch | None = None
        self._away: set[str] = set()
        self._silent: dict[int, str] = {}
        self._latest: Generation | None = None

    @property
    def has_news(self) -> bool:
        return self._roll_call.has_news

    def call(self) -> Generation:
        """The generation as it is now: the same object while nothing has changed."""
        count = checked("nvmlDeviceGetCount", pynvml.nvmlDeviceGetCount)
        identities = self._roll_call.take(self._identify, count, IDENTIFY_SECONDS)
        found = {index: one for index, one in identities.items() if one.code == SUCCESS}
        if not found:
            _raise_if_ended(identities)
        self._note_silent(count, identities)
        changed = [self._meet(one) for one in found.values()]
        self._away = self._devices.keys() - {one.uuid for one in found.values()}
        for uuid in self._away:
            self._devices[uuid].find_anew()
        unidentified = count - len(found)
        if self._latest is None or any(changed) or unidentified != self._latest.unidentified:
            self._latest = Generation(
                self._driver_version,
                self._nvml_version,
                tuple(self._devices.values()),
                unidentified,
                self._watch,
                self,
            )
        return self._latest

    def end(self) -> bool:
        """
        Let nobody call the driver any more; False when a call hangs in it, so that it must not be shut down.

        What was made in the driver is given back, unless the driver is gone and with it all of that.
        """
        if not self.gate.shut(END_SECONDS):
            return False
        if not self._roll.ended:
            for device in self._devices.values():
                device.free()
            if self._watch is not None:
                self._watch.free()
        self._forget()
        return True

    def _forget(self) -> None:
        """Let go of the GPUs now, rather than when garbage is next collected: who comes next has its own."""
        for device in self._devices.values():
            device.forget()
        self._devices = {}
        self._latest = None

    def _identify(self, index: int) -> Identity:
        places = {uuid: device.info.index for uuid, device in tuple(self._devices.items())}
        with self.gate:
            return identify(index, self._driver, places)

    def _meet(self, one: Identity) -> bool:
        """Whether this GPU is new, has moved, or is back."""
        device = self._devices.get(one.uuid)
        changed = device is None or one.described is not None or one.uuid in self._away
        if device is not None:
            device.found(one.handle, one.described[0] if one.described else device.info)
        elif one.described is not None:
            self._devices[one.uuid] = NvmlDevice(*one.described, one.handle, self._roll, self._tools)
        if changed:
            self._watch = self._watch or NvmlWatch(self._tools.clock, self.gate)
            self._watch.include(one.uuid)
        return changed

    def _note_silent(self, count: int, identities: dict[int, Identity]) -> None:
        """Tell of the GPUs without identity, of each once for each reason."""
        silent = {index: why for index in range(count) if (why := _silence(identities.get(index)))}
        for index, why in silent.items():
            if self._silent.get(index) != why:
                logger.warning("GPU %d does not say who it is (%s): it may need a reset", index, why)
        self._silent = silent


def _silence(one: Identity | None) -> str:
    """Why a GPU has no identity; nothing when it has one."""
    if one is None:
        return _HANGS
    return f"{describe(one.code).word}, NVML code {one.code}" if one.code != SUCCESS else ""


def _raise_if_ended(identities: dict[int, Identity]) -> None:
    """A driver that went away has gone for all: where one GPU is there, only the others fail."""
    for one in identities.values():
        if describe(one.code).meaning in (Meaning.ENDED, Meaning.MISSING):
            raise unavailable(one.code, "nvmlDeviceGetHandleByIndex")
