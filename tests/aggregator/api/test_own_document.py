"""The API against its own OpenAPI document, by schemathesis."""

import asyncio
import tempfile
from pathlib import Path

import pytest
import schemathesis
from hypothesis import HealthCheck, settings
from schemathesis.specs.openapi.checks import positive_data_acceptance
from support.fleet.agents import serving_machine
from support.fleet.fleets import FACILITY, Followed
from support.history.recorded import history_at

from perwatt_aggregator.api.app import create_app
from perwatt_aggregator.history.history import History

# Loaded here alone, because it costs each start of pytest a second: pyproject.toml says `-p no:schemathesis`.
pytest_plugins = ("schemathesis.pytest.plugin",)
pytestmark = pytest.mark.slow

FOLDER = tempfile.TemporaryDirectory()


def fleet() -> Followed:
    """Two machines with workloads; the second cannot be reached."""
    machines = [serving_machine(gpus=2, workloads=2), serving_machine(prefix="B")]
    followed = Followed(machines, FACILITY, labels=("rack", "class"))
    followed.look()
    followed.run(60.0, node_watts=900.0)
    followed.aggregator.nodes[1].fail("timeout")
    history = history_at(Path(FOLDER.name) / "history.db", followed.clock)
    followed.aggregator.past.history = history
    end = int(followed.clock.unix()) // 15 * 15
    asyncio.run(_record(followed, history, end - 15))
    return followed


async def _record(followed: Followed, history: History, start: int) -> None:
    await history.add(await followed.aggregator.tick(start, 15))


schema = schemathesis.openapi.from_asgi("/openapi.json", create_app(fleet().aggregator))


@schema.parametrize()
@settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))
def test_against_its_own_document(case: schemathesis.Case) -> None:
    """For any request, the answer is one that the document lists, in the form that it gives."""
    # Which steps and windows the history has depends on the time and on what is kept, and it has no `gpu`: a
    # pattern cannot say that.
    if case.operation.path in ("/v1/history", "/v1/efficiency"):
        case.call_and_validate(excluded_checks=[positive_data_acceptance])
    else:
        case.call_and_validate()
