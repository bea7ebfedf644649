"""An NVML backend opened over a fake driver."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TypeAlias

from perwatt_agent.clock import Clock
from perwatt_agent.gpu.nvml.backend import NvmlBackend
from perwatt_agent.gpu.nvml.device import NvmlDevice
from support.gpus.fakenvml import FakeDriver

Open: TypeAlias = Callable[..., tuple[FakeDriver, list[NvmlDevice]]]
"""Takes an architecture; gives its driver, ten seconds after it was loaded, and the devices."""


@contextmanager
def opening(folder: Path, clock: Clock) -> Iterator[Open]:
    """A way to open backends over drivers of any architecture; at the end all hangs are released."""
    backend = NvmlBackend(clock)
    drivers: list[FakeDriver] = []

    def opened(architecture: str = "hopper", gpus: int = 2) -> tuple[FakeDriver, list[NvmlDevice]]:
        driver = FakeDriver.create(folder, gpus=gpus, architecture=architecture).install()
        drivers.append(driver)
        driver.advance(10.0)
        return driver, [device for device in backend.open().devices if isinstance(device, NvmlDevice)]

    yield opened
    for driver in drivers:
        driver.release()
    backend.close()
    for driver in drivers:
        driver.close()
