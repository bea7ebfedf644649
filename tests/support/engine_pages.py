"""Pages of real engines, as they were recorded: vLLM 0.32.0 with a tiny model on a CPU."""

from pathlib import Path

ENGINE_PAGES = Path(__file__).parent.parent / "data" / "engines"


def engine_page(name: str) -> bytes:
    """Return the page *name*, such as "vllm-0.32.0-4-after"."""
    return (ENGINE_PAGES / f"{name}.prom").read_bytes()


def all_engine_pages() -> list[Path]:
    return sorted(ENGINE_PAGES.glob("*.prom"))
