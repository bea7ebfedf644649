"""Engines that an operator adds: from the file to counts, and every error with its line."""

from pathlib import Path

import pytest
from msgspec.structs import replace
from support.engines.engine_pages import Engine, page_server

from perwatt.run.bootstrap import configured_endpoints
from perwatt_agent.config import AgentConfig, load_agent_config
from perwatt_agent.configfile.layers import ConfigError
from perwatt_agent.engine.catalog import engine_names
from perwatt_agent.engine.custom_kind import CustomKind, custom_kind
from perwatt_agent.engine.endpoint_poller import EngineFailure
from perwatt_agent.facts.engine_counts import EngineCounts, Histogram

KINDS = """\
engines:
  kinds:
    - name: my-engine
      recognised_by: [my_generated_total]
      model_label: model
      rank_labels: [replica]
      mirror_labels: [shard]
      output_tokens: ['my_generated_total{phase="decode|verify"}', my_old_total]
      prompt_computed: ['my_prompt_total{cached="no"}']
      prompt_cached: ['my_prompt_total{cached="yes"}']
      requests_ended: [my_requests_total]
      requests_aborted: [my_aborted_total]
      aborted_tokens: [my_aborted_tokens_total]
      failed_tokens: [my_failed_tokens_total]
      draft_tokens: [my_drafted_total]
      accepted_draft_tokens: [my_accepted_total]
      time_to_first_token: ['my_ttft_seconds{stream="yes"}']
      running: [my_running]
      kv_cache_usage: [my_cache_ratio]
"""
PAGE = """\
my_generated_total{model="m",phase="decode",replica="0",shard="0"} 90
my_generated_total{model="m",phase="decode",replica="0",shard="1"} 90
my_generated_total{model="m",phase="verify",replica="0",shard="0"} 10
my_generated_total{model="m",phase="draft",replica="0",shard="0"} 500
my_generated_total{model="m",phase="decode",replica="1",shard="0"} 50
my_prompt_total{cached="no",model="m",replica="0"} 40
my_prompt_total{cached="yes",model="m",replica="0"} 4
my_requests_total{model="m"} 12
my_aborted_total{model="m"} 2
my_aborted_tokens_total{model="m"} 7
my_failed_tokens_total{model="m"} 0
my_drafted_total{model="m"} 30
my_accepted_total{model="m"} 18
my_ttft_seconds_bucket{model="m",replica="0",stream="yes",le="0.2"} 4
my_ttft_seconds_bucket{model="m",replica="0",stream="yes",le="+Inf"} 5
my_ttft_seconds_bucket{model="m",replica="0",stream="no",le="0.2"} 100
my_ttft_seconds_sum{model="m",replica="0",stream="yes"} 1.25
my_running{model="m",replica="0"} 3
my_running{model="m",replica="1"} 1
my_cache_ratio{model="m",replica="0"} 0.25
my_cache_ratio{model="m",replica="1"} 0.75
"""


def load(tmp_path: Path, text: str) -> AgentConfig:
    path = tmp_path / "agent.yaml"
    path.write_text(text)
    return load_agent_config(path, {}, {})


def errors(tmp_path: Path, kind: str, endpoint: str = "") -> list[str]:
    text = f"engines:\n  kinds:\n    - {{{kind}}}\n"
    with pytest.raises(ConfigError) as caught:
        load(tmp_path, text + (f"  endpoints:\n    - {{{endpoint}}}\n" if endpoint else ""))
    return [line.removeprefix(f"{tmp_path}/agent.yaml:") for line in caught.value.lines]


def test_from_file_to_counts(tmp_path: Path) -> None:
    """Label filters of roles, replicas that add up and shards that do not come from the file."""
    kind = custom_kind(load(tmp_path, KINDS).engines.kinds[0])
    counts = Engine(kind).read(PAGE)

    expected = EngineCounts("m", 150, 40, 4, None, 10, 2, requests_running=4, kv_cache_usage_ratio=0.5)
    assert expected == replace(counts, wasted_tokens={}, time_to_first_token=None)
    assert {"aborted": 7, "error": 0, "draft_rejected": 12} == counts.wasted_tokens
    assert Histogram((0.2,), (4,), 5, 1.25) == counts.time_to_first_token
    assert "request_end" == kind.counts_at


def test_older_name() -> None:
    """The first name that the page has is the one that is read."""
    kind = custom_kind(CustomKind("e", recognised_by=("new", "old"), output_tokens=("new", "old")))

    assert [2, 1] == [Engine(kind).read(page).output_tokens for page in ("old 1\nnew 2\n", "old 1\n")]


@pytest.mark.parametrize("engine", ["auto", "my-engine"])
async def test_endpoint(tmp_path: Path, engine: str) -> None:
    """A configured endpoint reads the operator's engine, by its name or by its page."""
    async with page_server(PAGE.encode()) as server:
        text = KINDS + f"  endpoints:\n    - {{url: '{server.url}', engine: {engine}}}\n"
        reader = configured_endpoints(load(tmp_path, text))[0].reader
        counts = await reader.read()

    assert ("my-engine", 150) == (reader.engine, counts.output_tokens)


async def test_one_page_of_two_models(tmp_path: Path) -> None:
    """Endpoints of one page count one model each, and the HTTP server's counters none of them."""
    async with page_server((PAGE + PAGE.replace('"m"', '"n"') + "my_requests_total 5\n").encode()) as server:
        text = (
            KINDS
            + "  endpoints:\n"
            + "".join(
                f"    - {{url: '{server.url}', model: {model}, gpus: {gpu}}}\n"
                for gpu, model in enumerate(("m", "n"))
            )
        )
        endpoints = configured_endpoints(load(tmp_path, text))
        both = [await endpoint.reader.read() for endpoint in endpoints]
        server.page = PAGE.encode()
        first = await endpoints[0].reader.read()
        with pytest.raises(EngineFailure) as failure:
            await endpoints[1].reader.read()

    assert [("m", 150, 10), ("n", 150, 10)] == [
        (counts.model, counts.output_tokens, counts.requests_ok) for counts in both
    ]
    assert (150, "no_model") == (first.output_tokens, failure.value.reason)


async def test_no_gpus_is_a_router(tmp_path: Path) -> None:
    """An endpoint that holds no GPU makes no tokens of its own."""
    async with page_server(PAGE.encode()) as server:
        text = KINDS + f"  endpoints:\n    - {{url: '{server.url}', gpus: []}}\n"
        counts = await configured_endpoints(load(tmp_path, text))[0].reader.read()

    assert EngineCounts("m", requests_running=4) == counts


@pytest.mark.parametrize(
    ("kind", "line"),
    [
        (
            "name: vllm, recognised_by: [a]",
            "3: engines.kinds[0].name: expected an unused name; 'vllm' is taken",
        ),
        (
            "name: Mine, recognised_by: [a]",
            "3: engines.kinds[0].name: expected a name of small letters, digits, dots, - and _, not 'Mine'",
        ),
        (
            "name: mine",
            "3: engines.kinds[0].recognised_by: expected at least one metric that only this engine has",
        ),
        (
            "name: mine, recognised_by: ['a b']",
            "3: engines.kinds[0].recognised_by[0]: expected a metric's name, not 'a b'",
        ),
        (
            "name: mine, recognised_by: [a], output_tokens: ['a{b=c}']",
            "3: engines.kinds[0].output_tokens[0]: expected a metric as `name` or "
            "`name{label=\"value|other\"}`, not 'a{b=c}'",
        ),
        (
            "name: mine, recognised_by: [a], process: '(my-server|)'",
            "3: engines.kinds[0].process: expected a regular expression for how a program's command line "
            "begins (it matches every program), not '(my-server|)'",
        ),
        (
            "name: mine, recognised_by: [a], process: 'my-server)'",
            "3: engines.kinds[0].process: expected a regular expression for how a program's command line "
            "begins (unbalanced parenthesis at position 9), not 'my-server)'",
        ),
        (
            "name: mine, recognised_by: [a], port: 65536",
            "3: engines.kinds[0].port: expected a port from 1 to 65535, not '65536'",
        ),
        (
            "name: mine, recognised_by: [a], output_token: [a]",
            "3: engines.kinds[0].output_token: unknown key, expected output_tokens",
        ),
        ("recognised_by: [a]", None),
    ],
)
def test_errors(tmp_path: Path, kind: str, line: str | None) -> None:
    """What cannot be meant is refused with its line."""
    found = errors(tmp_path, kind)

    assert [line] == found if line else "engines.kinds[0].name" in found[0]


def test_unknown_engine(tmp_path: Path) -> None:
    """An endpoint's engine must be one that is known, the operator's own among them."""
    found = errors(tmp_path, "name: mine, recognised_by: [a]", "url: 'http://a', engine: minne")

    known = ", ".join(engine_names())
    assert [f"5: engines.endpoints[0].engine: expected one of auto, {known}, mine, not 'minne'"] == found
