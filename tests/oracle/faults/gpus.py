"""Faults of GPUs: missing, failing, nameless, without a sensor."""

from collections.abc import Callable
from random import Random
from typing import Literal

from oracle.faults.fault import Fault, Heal, a_gpu
from oracle.fleet import TrueFleet
from oracle.gpu import TrueGpu
from oracle.truth import Steps
from perwatt_agent.gpu.backend import GpuFailure


def _unlisted(fleet: TrueFleet, random: Random) -> None:
    """A GPU that the driver never lists, though configuration names it, which "all" does not."""
    node, gpu = a_gpu(fleet, random)
    gpu.is_listed = "all" in node.claims.values()


def _claimed_by_index(fleet: TrueFleet, random: Random) -> None:
    """Claims by index, of which one is not there."""
    node, gpu = a_gpu(fleet, random)
    node.claim_by_index()
    gpu.is_listed = False


def _claimed_as_all(fleet: TrueFleet, random: Random) -> None:
    """An engine for all GPUs of a machine, of which one is lost from the start."""
    node, gpu = a_gpu(fleet, random)
    node.use_all_gpus()
    gpu.failure = lambda: GpuFailure("lost", "lost", "it fell off the bus")


def _nameless(fleet: TrueFleet, random: Random) -> None:
    """A GPU that the driver counts, and that never gives its UUID."""
    _, gpu = a_gpu(fleet, random)
    gpu.has_identity = False


def _display_card(fleet: TrueFleet, random: Random) -> None:
    """A card without a sensor that nobody uses, beside an engine for all GPUs of the machine."""
    node, gpu = a_gpu(fleet, random)
    card = TrueGpu(f"{gpu.uuid}-card", len(node.gpus), Steps(fleet.clock.monotonic() - 10.0, 30.0))
    card.has_sensor = False
    node.gpus.append(card)
    node.use_all_gpus()


def _without_sensors(fleet: TrueFleet, random: Random) -> None:
    """A machine none of whose GPUs has a power sensor."""
    for gpu in random.choice(fleet.nodes).gpus:
        gpu.has_sensor = False


def _failing(state: Literal["lost", "error"]) -> Callable[[TrueFleet, Random], Heal]:
    def begin(fleet: TrueFleet, random: Random) -> Heal:
        _, gpu = a_gpu(fleet, random)
        gpu.failure = lambda: GpuFailure(state, state, "it does not answer")

        def heal() -> None:
            gpu.failure = None

        return heal

    return begin


def _reload(fleet: TrueFleet, random: Random) -> None:
    random.choice(fleet.nodes).backend.reload()


def _no_sensor(fleet: TrueFleet, random: Random) -> None:
    _, gpu = a_gpu(fleet, random)
    gpu.has_sensor = False


def _one_uuid(fleet: TrueFleet, random: Random) -> None:
    node, gpu = a_gpu(fleet, random)
    random.choice(node.gpus).uuid = gpu.uuid


def _restarted_without_a_gpu(fleet: TrueFleet, random: Random) -> None:
    """A reboot after which a GPU is gone, and those behind it have moved up by one."""
    node, gpu = a_gpu(fleet, random)
    gpu.is_listed = False
    node.claim_by_index()
    listed = [one for one in node.gpus if one.is_listed]
    for index, one in enumerate(listed):
        one.index = index
    node.backend.reload()
    node.restart_agent()


ROWS = (
    Fault("a claimed GPU is not listed", _unlisted, from_start=True),
    Fault("a GPU claimed by index is not listed", _claimed_by_index, from_start=True),
    Fault("a GPU of all is lost from the start", _claimed_as_all, from_start=True),
    Fault("a GPU has no identity", _nameless, from_start=True),
    Fault("a GPU is lost", _failing("lost")),
    Fault("a GPU fails", _failing("error")),
    Fault("the driver is reloaded", _reload),
    Fault("a machine is restarted without a GPU", _restarted_without_a_gpu),
    Fault("a GPU has no power sensor", _no_sensor, from_start=True),
    Fault("a display card has no power sensor", _display_card, from_start=True),
    Fault("no GPU of a node has a power sensor", _without_sensors, from_start=True),
    Fault("two GPUs have one UUID", _one_uuid, from_start=True),
)
