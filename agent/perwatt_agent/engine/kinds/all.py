"""
The engines that are understood: one row each, which says what series plays what role on its page.

To add an engine, add a row and a test over a recorded page of it.
"""

from perwatt_agent.engine.kinds.others import (
    DYNAMO,
    LLAMACPP,
    LMDEPLOY,
    MLC,
    TEI,
    TGI,
    TRITON,
    TRTLLM,
)
from perwatt_agent.engine.kinds.row import CountsAt, EngineKind
from perwatt_agent.engine.kinds.sglang import SGLANG, SGLANG_BEFORE_0_5_8
from perwatt_agent.engine.kinds.vllm import KSERVE, NIM, RAY, VLLM

# The first row that recognises a page has it. Engines come before what stands in front of them: a
# Dynamo worker that passes its engine's families through is that engine.
ENGINES: tuple[EngineKind, ...] = (
    VLLM,
    SGLANG,
    SGLANG_BEFORE_0_5_8,
    LLAMACPP,
    TGI,
    TRTLLM,
    LMDEPLOY,
    KSERVE,
    RAY,
    TEI,
    DYNAMO,
    NIM,
    MLC,
    TRITON,
)

_FRONTENDS = frozenset(kind.name for kind in ENGINES if kind.frontend)
_COUNTS_AT: dict[str, CountsAt] = {kind.name: kind.counts_at for kind in ENGINES}


def counts_at(engine: str) -> CountsAt:
    """
    Return when the counters of the engine of that name move.

    An engine of the operator's own is taken to count at a request's end: who only sees its name cannot
    know better. Without a name there is no engine to wait for.
    """
    return _COUNTS_AT.get(engine, "request_end") if engine else "live"


def engine_names() -> tuple[str, ...]:
    """Return the names that an operator may give."""
    return tuple(kind.name for kind in ENGINES if not kind.also)


def is_frontend(engine: str) -> bool:
    """Return whether the engine of that name counts what other engines made."""
    return engine in _FRONTENDS
