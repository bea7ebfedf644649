"""Headline: the useful unit of the work, and its name."""

import pytest
from support.fleet.agents import Gpu, Machine, Workload, job
from support.fleet.fleets import Followed

from perwatt_aggregator.schema.efficiency import Headline


def embedding(name: str = "embed", group: str = "") -> Workload:
    """An engine that reads prompts and makes no output, as text-embeddings-inference does."""
    return Workload(name, group=group, engine="tei", output=None, cached=None, effective=None)


def followed(*workloads: Workload) -> Followed:
    """A minute of 100 tokens or units a second, each workload at 300 W of its own."""
    machine = Machine([Gpu(f"GPU-{index}") for index in range(len(workloads))], list(workloads))
    for index, workload in enumerate(workloads):
        workload.take(f"GPU-{index}", active=1.0)
    fleet = Followed([machine])
    fleet.look()
    fleet.run(60.0)
    return fleet


def headline(*workloads: Workload) -> Headline:
    return followed(*workloads).item().headline


class TestUnit:
    def test_generation(self) -> None:
        """Output tokens, and the same figure as `tokens_per_joule`."""
        item = followed(Workload("chat")).item()

        assert Headline("output_tokens", pytest.approx(1 / 3)) == item.headline  # type: ignore[arg-type]
        assert item.tokens_per_joule == item.headline.per_joule

    def test_embedding(self) -> None:
        """Prompt tokens, 200 per second here; the figure is valid, with a reason for the missing output."""
        item = followed(embedding()).item()

        assert Headline("prompt_tokens", pytest.approx(2 / 3)) == item.headline  # type: ignore[arg-type]
        assert (None, True) == (item.tokens_per_joule, item.valid)
        assert "prompt_tokens_only" in item.reasons
        assert "no_token_source" not in item.reasons

    def test_cached_prompts(self) -> None:
        """Prompt tokens from a cache are prompt tokens."""
        cached = Workload("rerank", output=None, effective=None)

        assert Headline("prompt_tokens", pytest.approx(2.5 / 3)) == headline(cached)  # type: ignore[arg-type]

    def test_job(self) -> None:
        """The unit that a job declares."""
        assert Headline("samples", pytest.approx(1 / 3)) == headline(job(None))  # type: ignore[arg-type]

    def test_several_units(self) -> None:
        """Units never add: of several there is no headline."""
        assert Headline(None, None) == headline(job(None), job(None, "steps", "other"))

    def test_nothing_known(self) -> None:
        """Without any reported work there is no useful unit."""
        silent = Workload("w", output=None, computed=None, cached=None, effective=None, ok=None)
        item = followed(silent).item()

        assert (Headline(None, None), False) == (item.headline, item.valid)
        assert "no_token_source" in item.reasons

    def test_beside_generation(self) -> None:
        """Grouped together, output is the headline over all joules; each model has its own."""
        fleet = followed(Workload("chat"), embedding())

        assert Headline("output_tokens", pytest.approx(1 / 6)) == fleet.item().headline  # type: ignore[arg-type]
        assert ["output_tokens", "prompt_tokens"] == [item.headline.unit for item in fleet.items("workload")]


def test_member_of_a_group() -> None:
    """Of members of one engine only all together have a headline."""
    prefill, decode = embedding("prefill", "pair"), Workload("decode", group="pair")
    fleet = followed(prefill, decode)

    members = [item.headline for item in fleet.items("workload")]
    assert [Headline("output_tokens", None), Headline("prompt_tokens", None)] == members
    assert Headline("output_tokens", pytest.approx(1 / 6)) == fleet.item().headline  # type: ignore[arg-type]
