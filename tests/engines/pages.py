"""What the tests read on an agent's page that has one workload."""

from support.agent.process import Page

HELD, FREE = 0, 1
WATTS = {HELD: 300.0, FREE: 80.0}
"""What the GPUs draw, always: the engine's, and one that nobody uses."""


def is_up(page: Page) -> bool:
    return page.values("perwatt_workload_up") == [1.0]


def output_tokens(page: Page) -> float | None:
    return page.value("perwatt_output_tokens_total")


def prompt_tokens(page: Page, source: str) -> float | None:
    return page.value("perwatt_prompt_tokens_total", source=source)


def requests(page: Page, outcome: str) -> float | None:
    return page.value("perwatt_requests_total", outcome=outcome)


def covered_seconds(page: Page) -> float:
    return page.value("perwatt_workload_covered_seconds_total") or 0.0


def workload_joules(page: Page, *states: str) -> float:
    return sum(sum(page.values("perwatt_workload_energy_joules_total", state=state)) for state in states)


def board_joules(page: Page, gpu: str) -> float:
    return sum(page.values("perwatt_gpu_energy_joules_total", gpu=gpu))


def unattributed_joules(page: Page, gpu: str, *causes: str) -> float:
    name = "perwatt_gpu_unattributed_energy_joules_total"
    return sum(sum(page.values(name, gpu=gpu, cause=cause)) for cause in causes)


def joules_waiting(page: Page, gpu: str) -> float:
    """The board's joules less those that the page gives to somebody, or calls nobody's."""
    owned = sum(page.values("perwatt_workload_energy_joules_total", gpu=gpu))
    return board_joules(page, gpu) - owned - unattributed_joules(page, gpu, "unallocated", "unknown")
