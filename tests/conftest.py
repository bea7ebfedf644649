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

ON_REQUEST = {"gpu", "engines"}


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--update-golden", action="store_true", help="write the golden files anew")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Tests that need what few machines have run only when they are asked for, with `-m` and their marker."""
    left_out = ON_REQUEST - {config.getoption("-m")}
    kept = [item for item in items if not any(item.get_closest_marker(name) for name in left_out)]
    deselected = [item for item in items if item not in kept]
    config.hook.pytest_deselected(items=deselected)
    items[:] = kept


@pytest.fixture
def update_golden(request: pytest.FixtureRequest) -> bool:
    return bool(request.config.getoption("--update-golden"))


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()
