"""The API against its own OpenAPI document, by schemathesis."""

import pytest
import schemathesis
from hypothesis import HealthCheck, settings
from support.fleet.agents import serving_machine
from support.fleet.fleets import FACILITY, Followed

from perwatt_aggregator.api.app import create_app

# Loaded here alone, because it costs each start of pytest a second: pyproject.toml says `-p no:schemathesis`.
pytest_plugins = ("schemathesis.pytest.plugin",)
pytestmark = pytest.mark.slow


def fleet() -> Followed:
    """Two machines with workloads; the second cannot be reached."""
    machines = [serving_machine(gpus=2, workloads=2), serving_machine(prefix="B")]
    followed = Followed(machines, FACILITY, labels=("rack", "class"))
    followed.look()
    followed.run(60.0, node_watts=900.0)
    followed.aggregator.nodes[1].fail("timeout")
    return followed


schema = schemathesis.openapi.from_asgi("/openapi.json", create_app(fleet().aggregator))


@schema.parametrize()
@settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))
def test_against_its_own_document(case: schemathesis.Case) -> None:
    """For any request, the answer is one that the document lists, in the form that it gives."""
    case.call_and_validate()
