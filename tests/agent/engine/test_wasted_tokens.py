"""Wasted tokens by cause: shown if certain, absent otherwise."""

import pytest
from support.engines.engine_pages import Engine, changed, engine_page, kind_named

from perwatt_agent.engine.kinds.vllm import VLLM

IDLE, LOAD, AFTER = (engine_page(f"vllm-0.32.0-{stage}") for stage in ("1-idle", "3-underload-4", "4-after"))
SPECULATION = """\
vllm:generation_tokens_total{engine="0"} 100
vllm:spec_decode_num_draft_tokens_total{engine="0"} %d
vllm:spec_decode_num_accepted_tokens_total{engine="0"} %d
"""


class TestAborted:
    def test_recorded(self) -> None:
        """Once nothing is in flight, output that no ended request accounts for is that of aborted ones."""
        assert {"aborted": 4585 - 4503} == Engine(VLLM).read(AFTER).wasted_tokens

    def test_in_flight(self) -> None:
        """While requests run or wait, their tokens look like wasted ones: the cause is absent."""
        engine = Engine(VLLM)
        told = [engine.read(page).wasted_tokens for page in (IDLE, LOAD, AFTER)]
        waiting = changed(AFTER, "vllm:num_requests_waiting", "1")

        assert [{"aborted": 0}, {}, {"aborted": 82}] == told
        assert {} == engine.read(waiting).wasted_tokens

    def test_without_gauges(self) -> None:
        """If the engine does not report running requests, it is unknown whether there are none."""
        assert {} == Engine(VLLM).read(SPECULATION.splitlines()[0] + "\n").wasted_tokens


class TestDrafts:
    def test_rejected(self) -> None:
        """Drafts that were not accepted are wasted, and their count never falls."""
        engine = Engine(VLLM)
        told = [
            engine.read(SPECULATION % counts).wasted_tokens["draft_rejected"]
            for counts in ((10, 4), (20, 15), (30, 15))
        ]

        assert [6, 6, 15] == told

    @pytest.mark.parametrize(
        ("name", "prefix"), [("llamacpp", "llamacpp:"), ("trtllm", "trtllm_"), ("aphrodite", "aphrodite:")]
    )
    def test_other_engines(self, name: str, prefix: str) -> None:
        """Others show the same under names of their own."""
        kind = kind_named(name)
        page = (
            f"{sorted(kind.recognised_by)[0]} 100\n"
            f"{prefix}spec_decode_num_draft_tokens_total 10\n"
            f"{prefix}spec_decode_num_accepted_tokens_total 4\n"
        )

        assert {"draft_rejected": 6} == Engine(kind, "m").read(page).wasted_tokens


class TestRecomputed:
    def test_sglang(self) -> None:
        """What retracted requests had is computed again: their prompts and what they had generated."""
        page = (
            'sglang:realtime_tokens_total{mode="decode"} 100\n'
            "sglang:num_retracted_input_tokens_total 40\n"
            "sglang:num_retracted_output_tokens_total 2\n"
        )

        assert {"recomputed": 42} == Engine(kind_named("sglang")).read(page).wasted_tokens


def test_prefill_worker() -> None:
    """Nothing of a prefill worker's is output, so nothing of it is wasted output."""
    assert {} == Engine(VLLM, role="prefill").read(AFTER).wasted_tokens
