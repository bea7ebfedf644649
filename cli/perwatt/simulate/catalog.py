"""Catalog of what a simulated fleet is made of: a GPU board, served models, facilities."""

from msgspec import Struct

GIB = 1024**3


class Board(Struct, frozen=True):
    """A GPU board; `idle_watts` is its power while no process uses it."""

    name: str
    idle_watts: float
    limit_watts: float
    limit_min_watts: float
    memory_bytes: int
    memory_reserved_bytes: int
    clock_idle_hertz: float
    clock_busy_hertz: float
    clock_memory_hertz: float


class ServedModel(Struct, frozen=True):
    """
    A model as one engine serves it on `gpus` boards.

    `tokens_per_second` are output tokens of the whole engine at full load. Watts are of one board: at full
    load, while it is held without a request, and while the engine loads. `weight` is the relative number of
    nodes that serve it.
    """

    name: str
    short: str
    engine: str
    gpus: int
    tokens_per_second: float
    busy_watts: float
    held_watts: float
    loading_watts: float
    output_tokens_per_request: float
    prompt_tokens_per_request: float
    cached_ratio: float
    aborted_ratio: float
    weight: float


class Site(Struct, frozen=True):
    """A facility: its constant PUE, and its time zone as a share of a day."""

    facility: str
    pue: float
    day_offset: float


BOARD = Board("Simulated H100 80GB", 68.0, 700.0, 200.0, 80 * GIB, GIB // 2, 345e6, 1980e6, 2619e6)

MODELS = (
    ServedModel(
        "meta-llama/Llama-3.1-8B-Instruct",
        "llama-8b",
        "vllm",
        1,
        5200.0,
        610.0,
        112.0,
        165.0,
        220.0,
        900.0,
        0.35,
        0.03,
        0.5,
    ),
    ServedModel(
        "Qwen/Qwen2.5-32B-Instruct",
        "qwen-32b",
        "sglang",
        2,
        3600.0,
        625.0,
        116.0,
        170.0,
        310.0,
        1400.0,
        0.5,
        0.02,
        2.0,
    ),
    ServedModel(
        "meta-llama/Llama-3.3-70B-Instruct",
        "llama-70b",
        "vllm",
        4,
        3900.0,
        640.0,
        118.0,
        175.0,
        280.0,
        1100.0,
        0.3,
        0.04,
        3.0,
    ),
    ServedModel(
        "deepseek-ai/DeepSeek-V3",
        "deepseek-v3",
        "sglang",
        8,
        6800.0,
        560.0,
        121.0,
        180.0,
        450.0,
        1800.0,
        0.55,
        0.02,
        2.0,
    ),
)

SITES = (
    Site("osaka", 1.25, 9 / 24),
    Site("cairo", 1.38, 2 / 24),
    Site("sao-paulo", 1.16, -3 / 24),
)
