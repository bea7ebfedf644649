"""Options and fixtures that every test may use."""

import os

import pytest
from hypothesis import settings

from perwatt_agent.clock import ManualClock

# Machines are slow at times: no property is judged by its speed. CI runs the same examples each time, so
# that a landing never depends on luck; every other run looks for new ones.
settings.register_profile("here", deadline=None)
settings.register_profile("ci", deadline=None, derandomize=True)
settings.load_profile("ci" if os.environ.get("CI") else "here")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--update-golden", action="store_true", help="write the golden files anew")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Tests that need a real GPU run only when they are asked for with `-m gpu`."""
    if config.getoption("-m") == "gpu":
        return
    kept = [item for item in items if "gpu" not in item.keywords or item.get_closest_marker("gpu") is None]
    deselected = [item for item in items if item not in kept]
    config.hook.pytest_deselected(items=deselected)
    items[:] = kept


@pytest.fixture
def update_golden(request: pytest.FixtureRequest) -> bool:
    return bool(request.config.getoption("--update-golden"))


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()
