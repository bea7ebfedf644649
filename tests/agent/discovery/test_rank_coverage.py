"""Data-parallel ranks: an engine's page must count the work of all GPUs that it holds, and of no others."""

import logging
from itertools import product
from pathlib import Path

import pytest
from support.engines import engine_trees
from support.engines.engine_pages import engine_page, page_server
from support.processes.process_trees import running
from support.processes.watched import has_tokens, watching

from perwatt_agent.discovery.launches import kind_of, requested_gpus
from perwatt_agent.discovery.process_table import ProcessTable
from perwatt_agent.discovery.rank_coverage import RequestedGpus
from perwatt_agent.discovery.search import search
from perwatt_agent.engine.engine_page_reader import EnginePageReader

ON_GPUS = ("worker-0", "worker-1")


class TestMultiPort:
    """One launch whose ranks have a page each, as recorded from vLLM 0.32."""

    def test_an_engine_of_each(self, tmp_path: Path) -> None:
        """Each rank's server is an engine with its own GPU and its own socket."""
        with running(tmp_path, engine_trees.vllm_multi_port()) as tree:
            on_gpus = {f"GPU-{gpu}": (tree.pid(name),) for gpu, name in enumerate(ON_GPUS)}
            engines = search(ProcessTable(), on_gpus).engines

            assert [
                (tree.pid(f"server-{rank}"), (f"GPU-{rank}",), [tree.port(f"page-{rank}")], 1)
                for rank in (0, 1)
            ] == sorted(
                (
                    found.process.pid,
                    found.gpus,
                    [one.listener.port for one in found.candidates],
                    found.gpus_requested,
                )
                for found in engines
            )

    async def test_both_count(self, tmp_path: Path) -> None:
        """Each page's tokens belong to the GPU of its rank, and none is missing."""
        pages = (engine_trees.VLLM_PAGE, engine_trees.RANK_PAGES[1])
        with running(tmp_path, engine_trees.vllm_multi_port(pages=pages)) as tree:
            async with watching() as watched:
                await watched.round({gpu: [tree.pid(name)] for gpu, name in enumerate(ON_GPUS)})
                await watched.until(lambda told: len({one.info.workload for one in told if one.counts}) == 2)

            names = [f"vllm-{tree.port(f'page-{rank}')}" for rank in (0, 1)]
            assert dict(zip(names, (4585, 0), strict=True)) == watched.tokens()
            assert dict(zip(names, (("GPU-0",), ("GPU-1",)), strict=True)) == watched.claims()
            assert {0} == {one.missing_gpus for one in watched.told if one.counts}

    async def test_without_titles(self, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
        """Where the ranks cannot be told apart, the page of one does not stand for the GPUs of both."""
        actor = engine_trees.vllm_multi_port(titles=False)
        with running(tmp_path, actor) as tree, caplog.at_level(logging.WARNING):
            async with watching() as watched:
                await watched.round({gpu: [tree.pid(name)] for gpu, name in enumerate(ON_GPUS)})
                await watched.until(has_tokens)

            assert (("GPU-0", "GPU-1"), 1) == (watched.told[-1].gpus, watched.told[-1].missing_gpus)
            assert 1 == len([line for line in caplog.messages if "1 of 2 data-parallel ranks" in line])


@pytest.mark.parametrize(("options", "ranks_on_page", "held", "missing"), [
    ("-tp 2 -dp 4 --data-parallel-rank 1", 1, 2, 0),
    ("-tp 2 -dp 4 --data-parallel-external-lb", 1, 2, 0),
    ("-tp 2 -dp 4 -dpl 2 --data-parallel-hybrid-lb", 2, 4, 0),
    ("-tp 2 -dp 4 -dpl 2", 4, 4, 4),
    ("-tp 2 -dp 4", 4, 8, 0),
    ("-tp 2 -dp 4", 4, 6, 2),
    ("-tp 2 -dp 4", 1, 8, 6),
    ("-dp 8 -dpl 8 --data-parallel-multi-port-external-lb", 1, 8, 7),
    ("-dp 2 --data-parallel-size-local 2", None, 2, 0),
])  # fmt: skip
def test_launches(options: str, ranks_on_page: int | None, held: int, missing: int) -> None:
    """Complete engines lack nothing; a page of fewer ranks than the launch has, or of more, lacks GPUs."""
    command = f"vllm serve m {options}".split()
    kind = kind_of(" ".join(command))
    assert kind is not None
    assert kind.launch is not None
    requested = requested_gpus(kind.launch, command)

    assert requested is not None
    assert missing == requested.missing(held, ranks_on_page)


@pytest.mark.parametrize(
    ("per_rank", "ranks", "ranks_on_page", "held"),
    list(product((1, 2, 8), (1, 2, 4), (1, 2, 4), (1, 2, 4, 8, 16))),
)
def test_matrix(per_rank: int, ranks: int, ranks_on_page: int, held: int) -> None:
    """Nothing is missing only if the page counts no rank elsewhere, and all that its launch started."""
    missing = RequestedGpus(per_rank, ranks, has_ranks=True).missing(held, ranks_on_page)
    counted = ranks_on_page * per_rank

    if counted > held:
        assert missing == counted - held
    elif ranks_on_page < ranks:
        assert missing == held - counted
    else:
        assert 0 == missing


@pytest.mark.parametrize(
    ("page", "ranks"),
    [
        (engine_page("vllm-0.32.0-4-after"), 1),
        (engine_page("vllm-0.32.0-dp-multiport-rank1-1-idle"), 1),
        (engine_page("vllm-0.32.0-4-after").replace(b'engine="0"', b'engine="3"'), 1),
        (
            engine_page("vllm-0.32.0-4-after")
            + engine_page("vllm-0.32.0-4-after").replace(b'engine="0"', b'engine="1"'),
            2,
        ),
        (b"llamacpp:tokens_predicted_total 5\n", None),
    ],
    ids=["one", "second rank", "fourth rank", "two ranks", "no ranks"],
)
async def test_ranks_on_page(page: bytes, ranks: int | None) -> None:
    """The ranks that a page counts are those that its metrics are labelled with."""
    async with page_server(page) as server:
        reader = EnginePageReader(server.url)
        await reader.read()

    assert ranks == reader.ranks
