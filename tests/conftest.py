"""Options and fixtures that every test may use."""

import os
from collections import defaultdict
from pathlib import Path

import pytest
from hypothesis import settings

from perwatt_agent.clock import ManualClock

# Machines are slow at times: no property is judged by its speed. CI runs the same examples each time, so
# that a landing never depends on luck; every other run looks for new ones. `make check` looks at fewer.
settings.register_profile("here", deadline=None)
settings.register_profile("ci", deadline=None, derandomize=True)
settings.register_profile("quick", deadline=None, max_examples=20)
settings.load_profile("ci" if os.environ.get("CI") else "here")

ON_REQUEST = {"gpu", "engines"}

TESTS = Path(__file__).parent
SLOW_AS_A_WHOLE = ("e2e", "oracle", "aggregator/api/test_own_document.py")
"""Folders and files in which every test is slow; a run that leaves slow tests out does not import them."""

SECONDS = {
    "e2e/test_tokens_and_joules.py": 280,
    "e2e/test_agent_process.py": 100,
    "e2e/test_up.py": 80,
    "agent/sampling/test_fault_matrix.py": 75,
    "dashboards/test_rules_on_a_fleet.py": 60,
    "e2e/test_group.py": 30,
    "e2e/test_joules_and_money.py": 30,
}
"""How long the longest files take. They start first, so that no worker is left with one at the end."""
SLOW_SECONDS, FAST_SECONDS = 3.0, 0.03


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--update-golden", action="store_true", help="write the golden files anew")


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """Do not import what is slow as a whole in a run of fast tests."""
    return True if config.getoption("-m") == "not slow" and _is_slow_as_a_whole(collection_path) else None


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """
    Leave out tests that need what few machines have, unless `-m` names their marker; mark what is slow; and
    let the longest files start first.
    """
    left_out = ON_REQUEST - {config.getoption("-m")}
    deselected = {item for item in items if any(item.get_closest_marker(name) for name in left_out)}
    kept = [item for item in items if item not in deselected]
    config.hook.pytest_deselected(items=list(deselected))
    for item in kept:
        if _is_slow_as_a_whole(item.path):
            item.add_marker("slow")
    items[:] = _longest_file_first(kept)


def _is_slow_as_a_whole(path: Path) -> bool:
    return any(path.is_relative_to(TESTS / slow) for slow in SLOW_AS_A_WHOLE)


def _longest_file_first(items: list[pytest.Item]) -> list[pytest.Item]:
    """Order by file, the longest first; within a file nothing moves."""
    seconds = defaultdict[Path, float](float, {TESTS / name: long for name, long in SECONDS.items()})
    for item in items:
        seconds[item.path] += SLOW_SECONDS if item.get_closest_marker("slow") else FAST_SECONDS
    return sorted(items, key=lambda item: (-seconds[item.path], item.path))


@pytest.fixture
def update_golden(request: pytest.FixtureRequest) -> bool:
    return bool(request.config.getoption("--update-golden"))


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()
