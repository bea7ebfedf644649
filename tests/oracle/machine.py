"""Machines of the oracle: GPUs, engines and the real agent over them; every fault is a field to set."""

import shutil
from collections.abc import Callable
from pathlib import Path

from msgspec.structs import replace

from oracle.clock import NodeClock
from oracle.engine import TrueEngine, TruePage
from oracle.gpu import TrueBackend, TrueGpu
from perwatt.run.bootstrap import build_sampler
from perwatt_agent.config import AgentConfig, EnginesConfig
from perwatt_agent.engine.endpoint_poller import Endpoint
from perwatt_agent.engine.gpu_claims import GpuSelector
from perwatt_agent.facts.host_meter import NodeMeterSnapshot
from perwatt_agent.facts.snapshot import Snapshot
from perwatt_agent.facts.workload import WorkloadInfo
from perwatt_agent.identity.workload_names import WorkloadNames
from perwatt_agent.meters.config import MetersConfig
from perwatt_agent.sampling.sampler import Sampler
from perwatt_agent.work.claim_proof import ClaimProof
from perwatt_agent.work.registry import WorkRegistry


class TrueNode:
    """
    One machine and its agent.

    `pages` are the configured pages by workload, and `claims` what is configured of their GPUs. While
    not `is_alive` the agent does not run; the machine goes on. `answers` is whether scrapes succeed. A meter
    of the node has all joules of its boards, and `rest_watts` beside them. `neighbours` are other processes
    of the machine, which act once a second.
    """

    def __init__(
        self, name: str, gpus: list[TrueGpu], engines: list[TrueEngine], folder: Path, clock: NodeClock
    ):
        self.name = name
        self.gpus = gpus
        self.engines = engines
        self.clock = clock
        self.backend = TrueBackend(gpus, clock)
        self.pages = {engine.name: engine for engine in engines}
        self.claims: dict[str, GpuSelector] = {
            engine.name: tuple(gpu.uuid for gpu in engine.gpus) for engine in engines
        }
        self.hides_roles = False
        self.answers = True
        self.rest_watts = 40.0 * len(gpus)
        self.neighbours: list[Callable[[], None]] = []
        self.folder = folder
        self._born = clock.monotonic()
        self._sampler: Sampler | None = None
        self._registry: WorkRegistry | None = None

    def use_all_gpus(self) -> None:
        """
        Let one engine serve on all GPUs, and claim them all.

        "All" names no GPU: one that the driver has never listed is not in this machine, as nothing shows it.
        """
        self.gpus[:] = [gpu for gpu in self.gpus if gpu.is_listed]
        engine = self.engines[0]
        engine.gpus = tuple(self.gpus)
        self.engines, self.pages, self.claims = [engine], {engine.name: engine}, {engine.name: "all"}

    def add_engine(self, engine: TrueEngine, claim: GpuSelector | None = None) -> None:
        """Add an engine; with a *claim* its page is configured."""
        self.engines.append(engine)
        if claim is not None:
            self.pages[engine.name], self.claims[engine.name] = engine, claim

    def claim_by_index(self) -> None:
        for name, engine in self.pages.items():
            self.claims[name] = tuple(gpu.index for gpu in engine.gpus)

    def _start(self) -> Sampler:
        config = AgentConfig(
            state_dir=self.folder / "state",
            data_dir=self.folder / "data",
            meters=MetersConfig(discover=False),
            engines=EnginesConfig(discover=False),
        )
        endpoints = [
            Endpoint(
                WorkloadInfo(name, role="mixed" if self.hides_roles else engine.role),
                8000 + place,
                self.claims[name],
                TruePage(engine, shares_kv=self.hides_roles),
                url=f"http://{name}/metrics",
            )
            for place, (name, engine) in enumerate(self.pages.items())
        ]
        # The driver lists no process, so that no claim of a neighbour can be proven.
        self._registry = WorkRegistry(
            self.clock, names=WorkloadNames(self.pages), proof=ClaimProof(proc=self.folder / "proc")
        )
        return build_sampler(
            config, self.clock, backend=self.backend, endpoints=endpoints, registry=self._registry
        )

    @property
    def is_alive(self) -> bool:
        return self._sampler is not None

    @property
    def registry(self) -> WorkRegistry | None:
        """Where neighbours report work; None while no agent runs."""
        return self._registry

    def restart_agent(self) -> None:
        self.stop_agent()
        self._sampler = self._start()

    def stop_agent(self) -> None:
        if self._sampler is not None:
            self._sampler.close()
        self._sampler = self._registry = None

    def lose_state(self) -> None:
        shutil.rmtree(self.folder / "state", ignore_errors=True)

    def copy_state(self) -> Callable[[], None]:
        """Copy the saved state; return what puts the copy back."""
        state, copy = self.folder / "state", self.folder / "copy"
        shutil.copytree(state, copy, dirs_exist_ok=True)

        def put_back() -> None:
            self.lose_state()
            shutil.copytree(copy, state)

        return put_back

    async def tick(self) -> None:
        for act in self.neighbours:
            act()
        if self._sampler is not None:
            await self._sampler.tick()

    @property
    def snapshot(self) -> Snapshot:
        assert self._sampler is not None
        return self._sampler.latest

    @property
    def snapshot_with_meter(self) -> Snapshot:
        """The snapshot with the node's meter, which is read together with the GPUs."""
        snapshot = self.snapshot
        now = snapshot.monotonic_seconds
        seconds = now - self._born
        joules = sum(gpu.watts.between(self._born, now) for gpu in self.gpus) + self.rest_watts * seconds
        return replace(snapshot, node_meters=(NodeMeterSnapshot("ipmi", joules, seconds),))

    def factor(self, start: float, end: float) -> float:
        """Joules of the node per joule of its boards."""
        boards = sum(gpu.watts.between(start, end) for gpu in self.gpus)
        return 1.0 + self.rest_watts * (end - start) / boards if boards else 1.0
