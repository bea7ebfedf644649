"""Prompt tokens of vLLM over versions, roles and origins: each is counted by one worker, and none is lost."""

from collections.abc import Iterator
from itertools import product

import pytest
from hypothesis import given, seed, settings
from hypothesis import strategies as st
from msgspec import Struct
from support.engines.engine_pages import Engine

from perwatt_agent.engine.kinds.vllm import VLLM
from perwatt_agent.facts.workload import Role

VERSIONS = ("0.9.2", "0.12", "0.20", "0.32")
ROLES: tuple[Role, ...] = ("mixed", "prefill", "decode")


class Origins(Struct, frozen=True):
    """Prompt tokens by where their KV cache came from. Those of `unnamed` may be from anywhere."""

    computed: int = 0
    device: int = 0
    host: int = 0
    disk: int = 0
    peer: int = 0
    unnamed: int = 0

    @property
    def external(self) -> int:
        return self.host + self.disk + self.peer + self.unnamed

    @property
    def prompt(self) -> int:
        return self.computed + self.device + self.external


def lines(version: str, origins: Origins, output: int) -> Iterator[tuple[str, int]]:
    """The counters of a page of this version, after one request."""
    at = VERSIONS.index(version)
    yield "prompt_tokens_total", origins.prompt
    yield "generation_tokens_total", output
    yield "request_generation_tokens_sum", output
    yield "e2e_request_latency_seconds_count", 1
    old = "gpu_" if at == 0 else ""
    yield f"{old}prefix_cache_queries_total", origins.prompt
    yield f"{old}prefix_cache_hits_total", origins.device
    if at >= 1:
        yield "external_prefix_cache_queries_total", origins.prompt - origins.device
        yield "external_prefix_cache_hits_total", origins.external
    if at >= 2:
        by_source = 'prompt_tokens_by_source_total{source="%s"}'
        yield by_source % "local_compute", origins.computed
        yield by_source % "local_cache_hit", origins.device
        yield by_source % "external_kv_transfer", origins.external
        yield "prompt_tokens_cached_total", origins.device + origins.external
    if at >= 3:
        tier = 'prompt_tokens_cached_by_source_total{source="%s"}'
        yield tier % "device", origins.device
        yield tier % "host", origins.host
        yield tier % "disk", origins.disk
        yield tier % "p2p", origins.peer
        yield tier % "external_unspecified", origins.unnamed


def page(version: str, origins: Origins, output: int = 10) -> str:
    return "".join(f"vllm:{name} {value}\n" for name, value in lines(version, origins, output))


def prompt(
    version: str, origins: Origins, role: Role = "mixed", *, shares_kv: bool = False
) -> tuple[float | None, float | None]:
    counts = Engine(VLLM, role=role, shares_kv=shares_kv).read(page(version, origins))
    return counts.prompt_computed_tokens, counts.prompt_cached_tokens


@pytest.mark.parametrize("version", VERSIONS[1:])
def test_offload(version: str) -> None:
    """Of 10,000 prompt tokens, 5,000 came from KV offload and 3,000 from the GPU: all are counted."""
    assert (2000, 8000) == prompt(version, Origins(2000, 3000, host=4000, disk=1000))


@pytest.mark.parametrize("version", VERSIONS[1:])
def test_decode(version: str) -> None:
    """Tokens of a prefill worker are that worker's; those from own memory count if the page shows them."""
    own = 500 if version == "0.32" else 0
    assert (100, 200 + own) == prompt(version, Origins(100, 200, host=500, peer=4000), "decode")


@pytest.mark.parametrize("version", VERSIONS)
def test_decode_of_old(version: str) -> None:
    """Before 0.11.1 a page does not show what came from outside: then nothing is known of a decode worker."""
    known = (0, 0) if version != "0.9.2" else (None, None)
    assert known == prompt(version, Origins(peer=4000), "decode")


def test_found_whole() -> None:
    """A prompt that was found whole has its last token computed again: the sum is still the prompt."""
    text = page("0.20", Origins(1, 99)).replace('"local_cache_hit"} 99', '"local_cache_hit"} 100')
    counts = Engine(VLLM).read(text)

    assert (1, 99) == (counts.prompt_computed_tokens, counts.prompt_cached_tokens)


def test_only_the_total() -> None:
    """A page that does not separate cached tokens shows neither: 0 cached would be a false zero."""
    counts = Engine(VLLM).read("vllm:prompt_tokens_total 500\nvllm:generation_tokens_total 5\n")

    assert (None, None) == (counts.prompt_computed_tokens, counts.prompt_cached_tokens)


TOKENS = st.integers(0, 10_000)
ORIGINS = st.builds(Origins, TOKENS, TOKENS, TOKENS, TOKENS, TOKENS, TOKENS)


@seed(15)
@settings(max_examples=60, deadline=None)
@given(ORIGINS)
def test_matrix(origins: Origins) -> None:
    """Every version, in every role: what is known is exact, and what a peer counts is not counted again."""
    for version, role in product(VERSIONS[1:], ROLES):
        computed, cached = prompt(version, origins, role)
        own = origins.host + origins.disk
        if version != "0.32":
            own = 0 if role == "decode" else origins.external
        elif role != "decode":
            own += origins.unnamed
        assert (origins.computed, origins.device + own) == (computed, cached), (version, role)


@seed(15)
@settings(max_examples=60, deadline=None)
@given(TOKENS, TOKENS)
def test_pair(computed: int, cached: int) -> None:
    """A prefill and a decode worker together count each prompt once, in every version that can tell."""
    whole = computed + cached
    for version, shares in product(VERSIONS[1:], (False, True)):
        first = prompt(version, Origins(computed, cached), "mixed" if shares else "prefill", shares_kv=shares)
        second = prompt(version, Origins(peer=whole), "mixed" if shares else "decode", shares_kv=shares)
        assert (computed, cached, 0, 0) == (*first, *second), (version, shares)


class TestSharedKv:
    """A launch that joins workers without a role: a router decides what each of them does."""

    @pytest.mark.parametrize("version", VERSIONS)
    def test_prefills(self, version: str) -> None:
        """One token a request is what a prefill worker makes: no output, and the page says why."""
        engine = Engine(VLLM, shares_kv=True)
        counts = engine.read(page(version, Origins(1000), output=1))

        assert (None, None) == (counts.output_tokens, counts.requests_ok)
        assert "set the endpoint's `role`" in engine.faults[0]

    @pytest.mark.parametrize("version", VERSIONS)
    def test_delivers(self, version: str) -> None:
        """A worker whose requests have more tokens delivers them."""
        engine = Engine(VLLM, shares_kv=True)
        assert 10 == engine.read(page(version, Origins(peer=1000))).output_tokens
        assert [] == engine.faults

    def test_serves_alone(self) -> None:
        """A worker that received no KV cache serves alone: its latency is the clients'."""
        bucket = 'vllm:time_to_first_token_seconds_bucket{le="%s"} 1\n'
        latency = bucket % "1.0" + bucket % "+Inf" + "vllm:time_to_first_token_seconds_sum 0.5\n"
        alone = Engine(VLLM, shares_kv=True).read(page("0.32", Origins(1000)) + latency)
        joined = Engine(VLLM, shares_kv=True).read(page("0.32", Origins(peer=1000)) + latency)

        assert alone.time_to_first_token is not None
        assert joined.time_to_first_token is None

    def test_once_known(self) -> None:
        """What delivered once is never a prefill worker again while it runs."""
        engine = Engine(VLLM, shares_kv=True)
        engine.read(page("0.20", Origins(peer=1000)))
        later = page("0.20", Origins(peer=1000)).replace("seconds_count 1", "seconds_count 50")

        assert 10 == engine.read(later).output_tokens
