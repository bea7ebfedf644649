"""
The two lives of an engine, and what two agents show of them.

It loads, idles, works, has requests broken off, ends, and starts again. One agent is told where it is,
the other has to find it.
"""

import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from pathlib import Path

from engines.client import Request, Truth, load, load_for
from engines.pages import HELD, WATTS, covered_seconds, is_up, output_tokens
from engines.server import Engine, Server, running
from support.agent.process import Page, PerwattProcess, free_port, perwatt
from support.gpus.fakenvml import Constant, FakeDriver

AGENTS = ("configured", "discovering")
IDLE_SECONDS = 6.0
WORK_SECONDS = 10.0
# How long an agent may take to show a page that it was given: it looks for engines every ten seconds.
MARK_SECONDS = 120.0
BROKEN_OFF = [Request(2 * number, tokens=600, break_after=5) for number in range(6)]
REFUSED = [Request(number, tokens=-5) for number in range(2)]


class Story:
    """
    What the client knows to be true, and each agent's page at each mark: ready, idle, worked,
    broken; then, of the second life, ready again and worked again.
    """

    def __init__(self, engine: Engine, folder: Path, driver: FakeDriver) -> None:
        self.engine = engine
        self.driver = driver
        self.port = free_port()
        self.pages: dict[str, dict[str, Page]] = {agent: {} for agent in AGENTS}
        self.loading_seconds = self.working_seconds = 0.0
        self.worked = self.broken = self.worked_again = Truth()
        self._folder = folder
        self._agents: dict[str, PerwattProcess] = {}

    def tell(self) -> None:
        with ExitStack() as stack:
            self._agents = {name: stack.enter_context(self._agent(name)) for name in AGENTS}
            self._turn_power_on()
            with running(self.engine, self.port, self._folder) as server:
                self._live(server)
            self.driver.set_processes(HELD, [])
            with running(self.engine, self.port, self._folder) as server:
                self._live_again(server)

    def _turn_power_on(self) -> None:
        """Let the boards draw only now that all agents read them: what they count, agents have seen."""
        for agent in self._agents.values():
            agent.wait_for(lambda page: len(page.values("perwatt_gpu_energy_joules_total")) == len(WATTS))
        for gpu, watts in WATTS.items():
            self.driver.set_waveform(gpu, Constant(watts))

    def _live(self, server: Server) -> None:
        self.loading_seconds = self._load_model(server)
        self._mark("ready", 0)
        time.sleep(IDLE_SECONDS)
        self._mark("idle", 0)
        began = time.monotonic()
        self.worked = load_for(self.port, WORK_SECONDS)
        self.working_seconds = time.monotonic() - began
        self._mark("worked", self.worked.output_tokens)
        self.broken = load(self.port, BROKEN_OFF) + load(self.port, REFUSED)
        self._mark("broken", self.worked.output_tokens + self.broken.aborted_tokens)

    def _live_again(self, server: Server) -> None:
        self._load_model(server)
        self._mark("ready again", 0, self.worked.output_tokens - 1)
        self.worked_again = load_for(self.port, WORK_SECONDS)
        self._mark("worked again", self.worked_again.output_tokens)

    def _load_model(self, server: Server) -> float:
        """
        Put the engine on its GPU from its first moment, and then the part of it that computes.

        Give how long it took until it was ready.
        """
        began = time.monotonic()
        self.driver.set_processes(HELD, [(server.pid, 1 << 30)])
        self.driver.set_processes(HELD, [(server.computing_pid(), 1 << 30)])
        server.wait_until_ready()
        return time.monotonic() - began

    def _mark(self, name: str, least_tokens: float, most_tokens: float = float("inf")) -> None:
        """Keep the agents' pages once they show as many tokens, and as two engine pages later settle them."""
        for agent, process in self._agents.items():
            page = process.wait_for(
                lambda page: is_up(page) and least_tokens <= (output_tokens(page) or 0.0) <= most_tokens,
                MARK_SECONDS,
            )
            for _ in range(2):
                page = _settled_further(process, page)
            self.pages[agent][name] = page

    def _agent(self, name: str) -> AbstractContextManager[PerwattProcess]:
        state = self._folder / name
        state.mkdir()
        return perwatt(state, *agent_arguments(name, self.port), environment=self.driver.environment())


def agent_arguments(name: str, port: int) -> list[str]:
    """How the agent *name*, one of AGENTS, is started beside an engine at *port*."""
    arguments = ["agent", "--sample-interval", "500ms", "--engines.interval", "1s"]
    if name == "configured":
        endpoint = f"url=http://127.0.0.1:{port}/metrics,workload=chat,gpus={HELD}"
        arguments += ["--engines.discover", "false", "--engine", endpoint]
    return arguments


def _settled_further(agent: PerwattProcess, before: Page) -> Page:
    """The agent's page after one more page of the engine."""
    covered = covered_seconds(before)
    return agent.wait_for(lambda page: covered_seconds(page) > covered, MARK_SECONDS)


@contextmanager
def told(engine: Engine, folder: Path) -> Iterator[Story]:
    """The story of *engine*, which lasts some minutes; the driver is there for as long as it is looked at."""
    with FakeDriver.create(folder, gpus=len(WATTS), real_time=True) as driver:
        for gpu in WATTS:
            driver.set_waveform(gpu, Constant(0.0))
        driver.reset_energy()
        story = Story(engine, folder, driver)
        story.tell()
        print(f"\n{engine.name}: ready after {story.loading_seconds:.1f} s")
        print(f"  worked {story.worked}\n  broken {story.broken}\n  worked again {story.worked_again}")
        yield story
