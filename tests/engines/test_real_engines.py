"""
perwatt beside real engines, over a driver whose exact joules are known; run by `make test-engines`.

What is expected is what a client of the engine counted for itself.
"""

from collections.abc import Iterator
from itertools import pairwise

import pytest
from engines.client import MODEL
from engines.pages import (
    FREE,
    HELD,
    WATTS,
    board_joules,
    covered_seconds,
    joules_waiting,
    output_tokens,
    prompt_tokens,
    requests,
    unattributed_joules,
    workload_joules,
)
from engines.server import LLAMACPP, VLLM
from engines.story import AGENTS, BROKEN_OFF, Story, told
from support.agent.process import Page

pytestmark = [pytest.mark.engines, pytest.mark.parametrize("agent", AGENTS)]

STATES = ("loading", "idle", "active")
# Two engine pages, and what a slow page is waited for longer.
MOST_WAITING_SECONDS = 20.0


@pytest.fixture(scope="module", params=[LLAMACPP, VLLM], ids=lambda engine: engine.name)
def story(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Story]:
    request.param.install()
    with told(request.param, tmp_path_factory.mktemp(request.param.name)) as story:
        yield story


@pytest.fixture
def pages(story: Story, agent: str) -> dict[str, Page]:
    return story.pages[agent]


class TestTokens:
    def test_output(self, story: Story, pages: dict[str, Page]) -> None:
        """Once requests have ended, every output token is there, and none besides."""
        assert 0 == output_tokens(pages["idle"])
        assert story.worked.output_tokens == output_tokens(pages["worked"])

    def test_prompt(self, story: Story, pages: dict[str, Page]) -> None:
        """Computed and cached prompt tokens are told apart as the engine told its client."""
        cached = story.worked.cached_tokens
        assert cached == prompt_tokens(pages["worked"], "cached")
        assert story.worked.prompt_tokens - cached == prompt_tokens(pages["worked"], "computed")

    def test_broken_off(self, story: Story, pages: dict[str, Page]) -> None:
        """What was made for requests broken off counts: all that arrived, not all that was wanted."""
        wasted = (output_tokens(pages["broken"]) or 0.0) - story.worked.output_tokens
        assert len(BROKEN_OFF) == story.broken.aborted
        assert story.broken.aborted_tokens <= wasted < sum(request.tokens for request in BROKEN_OFF)

    def test_requests(self, story: Story, pages: dict[str, Page]) -> None:
        """vLLM's requests by outcome are the client's; llama-server counts none, so there are none."""
        seen = [requests(pages["broken"], outcome) for outcome in ("ok", "aborted", "error")]
        told_by_client = [story.worked.ok, story.broken.aborted, story.broken.refused]
        assert (told_by_client if story.engine == VLLM else [None] * 3) == seen

    def test_restart(self, story: Story, pages: dict[str, Page]) -> None:
        """An engine that starts again counts from 0, and the page with it."""
        assert 0 == output_tokens(pages["ready again"])
        assert story.worked_again.output_tokens == output_tokens(pages["worked again"])


class TestWorkload:
    def test_engine(self, story: Story, agent: str, pages: dict[str, Page]) -> None:
        """
        The engine is recognised: by its process, or by its page.

        A page that was asked in vain for 30 s, as one of vLLM may be, leaves the engine unnamed for good.
        """
        name, page = story.engine.name, pages["worked again"]
        named = page.values("perwatt_workload_info", engine=name)
        unnamed = page.values("perwatt_workload_info", engine="")
        may_be_unnamed = agent == "configured" and story.engine == VLLM
        assert [1.0] == (named + unnamed if may_be_unnamed else named)

    def test_model(self, story: Story, pages: dict[str, Page]) -> None:
        """vLLM says which model it serves; llama-server does not, and nobody was told."""
        model = MODEL if story.engine == VLLM else ""
        assert story.worked.output_tokens == pages["worked"].value("perwatt_output_tokens_total", model=model)


class TestJoules:
    def test_loading(self, story: Story, agent: str, pages: dict[str, Page]) -> None:
        """
        Loading a model costs joules: all of them where the engine is configured, and else those from when
        it was found. llama-server loads the tiny model before anyone looks.
        """
        joules = workload_joules(pages["ready"], "loading")
        most = WATTS[HELD] * story.loading_seconds
        if story.engine == VLLM:
            assert (0.8 * most if agent == "configured" else 0.0) < joules
        assert joules < most + WATTS[HELD] * MOST_WAITING_SECONDS

    def test_idle(self, pages: dict[str, Page]) -> None:
        """Without a request, a held GPU's joules are idle ones."""
        ready, idle = pages["ready"], pages["idle"]
        assert workload_joules(ready, "loading", "active") == workload_joules(idle, "loading", "active")
        assert workload_joules(ready, "idle") < workload_joules(idle, "idle")

    def test_active(self, story: Story, pages: dict[str, Page]) -> None:
        """Work is active, from its first to its last second."""
        active = workload_joules(pages["worked"], "active") - workload_joules(pages["idle"], "active")
        assert 0.9 * WATTS[HELD] * story.working_seconds < active

    def test_power(self, pages: dict[str, Page]) -> None:
        """Joules over the seconds that they cover are what the board draws, in either life."""
        for sooner, later in (("ready", "broken"), ("ready again", "worked again")):
            joules = workload_joules(pages[later], *STATES) - workload_joules(pages[sooner], *STATES)
            seconds = covered_seconds(pages[later]) - covered_seconds(pages[sooner])
            assert WATTS[HELD] * seconds == pytest.approx(joules, rel=0.01)

    def test_never_fall(self, pages: dict[str, Page]) -> None:
        """Whatever the engine does, its joules only grow."""
        for sooner, later in pairwise(pages.values()):
            for state in STATES:
                assert workload_joules(sooner, state) <= workload_joules(later, state)

    def test_conservation(self, story: Story, pages: dict[str, Page]) -> None:
        """Workloads and rest are the board's joules, but for some that wait for the engine's next page."""
        gpu = story.driver.uuid(HELD)
        for page in pages.values():
            assert -0.01 < joules_waiting(page, gpu) < WATTS[HELD] * MOST_WAITING_SECONDS

    def test_free_gpu(self, story: Story, pages: dict[str, Page]) -> None:
        """A GPU without a process is nobody's."""
        gpu, page = story.driver.uuid(FREE), pages["worked again"]
        assert board_joules(page, gpu) == pytest.approx(unattributed_joules(page, gpu, "unallocated"))
