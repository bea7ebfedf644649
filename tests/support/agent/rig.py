"""The whole agent in process, over a fake driver; both clocks are driven by hand."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from perwatt.run.bootstrap import build_sampler
from perwatt_agent.clock import ManualClock
from perwatt_agent.config import AgentConfig, EnginesConfig
from perwatt_agent.facts.gpu import GpuEnergy
from perwatt_agent.meters.config import MetersConfig
from perwatt_agent.sampling.sampler import Sampler
from support.gpus.fakenvml import FakeDriver

ALONE: dict[str, Any] = {"meters": MetersConfig(discover=False), "engines": EnginesConfig(discover=False)}
"""The configuration of an agent that looks at GPUs and at nothing else of the machine."""


class Rig:
    """
    An agent whose clock and whose driver's clock advance together; its state lies in *folder*.

    *settings* are those of its configuration that are not as ALONE has them.
    """

    def __init__(self, folder: Path, driver: FakeDriver, **settings: Any) -> None:
        self.driver = driver
        self.clock = ManualClock()
        # Nothing else may wait by this clock: whoever waits moves it.
        self._config = AgentConfig(state_dir=folder, data_dir=folder / "data", **(ALONE | settings))
        self.sampler = self._start()

    def restart_agent(self) -> None:
        """Start another agent in place of this one, as after a crash: nothing is said goodbye to."""
        self.sampler = self._start()

    async def run(self, seconds: int, look: Callable[["Rig"], None] = lambda rig: None) -> None:
        """Let time pass, a sweep a second, and *look* after each."""
        for _ in range(seconds):
            self.driver.advance(1.0)
            self.clock.advance(1.0)
            await self.sampler.tick()
            look(self)

    def energy(self, gpu: int) -> GpuEnergy:
        energy = self.sampler.latest.gpus[gpu].energy
        assert energy is not None, self.sampler.latest.gpus[gpu]
        return energy

    def _start(self) -> Sampler:
        return build_sampler(self._config, self.clock)
