"""Inventory of GPUs: none is forgotten, none counts twice, and an index means what it meant before."""

import logging
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from perwatt_agent.facts.gpu import GpuInfo
from perwatt_agent.sampling.gpu_inventory import GpuInventory


class Memory:
    """What outlives a reboot, in a test's hands."""

    def __init__(self, *infos: GpuInfo) -> None:
        self.infos = tuple(infos)

    def load(self) -> tuple[GpuInfo, ...]:
        return self.infos

    def save(self, gpus: Sequence[GpuInfo]) -> None:
        self.infos = tuple(gpus)


def gpu(number: int, index: int | None = None) -> GpuInfo:
    return GpuInfo(f"GPU-{number}", number if index is None else index, "Test GPU")


def claimed(inventory: GpuInventory) -> dict[int, str]:
    """The GPU that a claim by index means."""
    return {info.claimed_as: info.uuid for info in inventory.known}


def test_missing_after_a_reboot() -> None:
    """A GPU of before the reboot stays known; claims by index mean the GPUs of before, whatever moved up."""
    memory = Memory()
    GpuInventory(memory).update([gpu(number) for number in range(4)], 0)
    after = GpuInventory(memory)

    gone = after.update([gpu(0), gpu(2, index=1), gpu(3, index=2)], 0)

    assert ["GPU-1"] == [info.uuid for info in gone]
    assert {index: f"GPU-{index}" for index in range(4)} == claimed(after)
    assert 4 == len(after.known) + after.unidentified


def test_the_log_says_what_moved(caplog: pytest.LogCaptureFixture) -> None:
    """Each GPU that moved up is named once, with its index of before and of now."""
    memory = Memory(*(gpu(number) for number in range(3)))
    inventory = GpuInventory(memory)

    with caplog.at_level(logging.WARNING):
        for _ in range(3):
            inventory.update([gpu(1, index=0), gpu(2, index=1)], 0)

    moved = [record.getMessage() for record in caplog.records if "was GPU" in record.getMessage()]
    assert 2 == len(moved)
    assert "GPU GPU-1 was GPU 1 and is GPU 0 now" in moved[0]


def test_replaced() -> None:
    """As many GPUs as before: one that is not listed was replaced, and the new one has its index."""
    memory = Memory(gpu(0), gpu(1))
    inventory = GpuInventory(memory)

    assert () == inventory.update([gpu(0), gpu(7, index=1)], 0)
    assert {0: "GPU-0", 1: "GPU-7"} == claimed(inventory)
    assert ["GPU-0", "GPU-7"] == [info.uuid for info in memory.infos]


def test_it_comes_back() -> None:
    """When all are there again, indices are the driver's."""
    inventory = GpuInventory(Memory(gpu(0), gpu(1)))
    inventory.update([gpu(1, index=0)], 0)

    assert () == inventory.update([gpu(0), gpu(1)], 0)
    assert [None, None] == [info.claim_index for info in inventory.known]


def test_no_driver_after_a_reboot() -> None:
    """Without a driver the GPUs of before are known."""
    inventory = GpuInventory(Memory(gpu(0), gpu(1)))

    assert ["GPU-0", "GPU-1"] == [info.uuid for info in inventory.expect_remembered()]
    assert () == inventory.expect_remembered()
    assert 2 == len(inventory.known)


@pytest.mark.parametrize("excluded", ["GPU-1", 1, "Display"])
def test_excluded(excluded: int | str) -> None:
    """A GPU is left out by UUID, index or name, and is not remembered either."""
    display = GpuInfo("GPU-1", 1, "Display")
    inventory = GpuInventory(Memory(gpu(0), display), [excluded])

    assert (True, False) == (inventory.is_excluded(display), inventory.is_excluded(gpu(0)))
    assert () == inventory.update([gpu(0)], 0)
    assert 1 == len(inventory.known)


@given(
    st.integers(1, 8),
    st.lists(st.tuples(st.sets(st.integers(0, 7)), st.sets(st.integers(0, 7)), st.booleans()), max_size=12),
)
def test_the_sum_is_the_number_of_gpus(number: int, schedule: list[tuple[set[int], set[int], bool]]) -> None:
    """
    Whichever GPUs are off the bus or silent, over restarts of the agent, known and unidentified ones are as
    many as the machine has, from the moment at which all were there once.
    """
    memory = Memory()
    inventory = GpuInventory(memory)
    inventory.update([gpu(one) for one in range(number)], 0)
    for off_the_bus, silent, is_restarted in schedule:
        if is_restarted:
            inventory = GpuInventory(memory)
        on_the_bus = [one for one in range(number) if one not in off_the_bus]
        listed = [gpu(one, place) for place, one in enumerate(on_the_bus) if one not in silent]
        inventory.update(listed, len(on_the_bus) - len(listed))

        assert number == len(inventory.known) + inventory.unidentified
        assert {index: f"GPU-{index}" for index in range(number)} == claimed(inventory)
