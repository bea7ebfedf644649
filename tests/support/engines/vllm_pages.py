"""The recorded run of vLLM, page by page, and its counts."""

from perwatt_agent.engine.kinds.vllm import VLLM
from perwatt_agent.facts.engine_counts import EngineCounts
from support.engines.engine_pages import Engine, engine_page

STAGES = ("1-idle", "2-warm", "3-underload-1", "3-underload-4", "4-after")
IDLE, WARM, LOAD_1, LOAD_4, AFTER = (engine_page(f"vllm-0.32.0-{stage}") for stage in STAGES)
LABELS = '{engine="0",model_name="tiny-llama"}'


def success(reason: str) -> str:
    """The labels of the requests that finished for *reason*."""
    return f'{{engine="0",finished_reason="{reason}",model_name="tiny-llama"}}'


def read(*pages: bytes) -> EngineCounts:
    """The counts after the last of *pages*, read in turn."""
    engine = Engine(VLLM)
    return [engine.read(page) for page in pages][-1]
