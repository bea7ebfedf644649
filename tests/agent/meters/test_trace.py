"""The agent's account of a real wall meter, read at 1 Hz and slower, against its published run."""

from collections.abc import Sequence

import pytest
from support.accounts.readings import sweep
from support.meters.real_trace import Trace

from perwatt_agent.accounting.account import Account
from perwatt_agent.facts.host_meter import NodeMeterSnapshot
from perwatt_agent.facts.readings import MeterSample


@pytest.fixture(scope="module")
def trace() -> Trace:
    return Trace()


def accounted(rows: Sequence[tuple[float, float]], period_seconds: float) -> NodeMeterSnapshot:
    """The node's energy after all rows."""
    account = Account(1.0)
    snapshots = [
        account.advance(sweep(t, {}, meters=[MeterSample("pdu", t, watts, period_seconds=period_seconds)]))
        for t, watts in rows
    ]
    (node,) = snapshots[-1].node_meters
    return node


@pytest.mark.parametrize(
    ("every", "shift_seconds", "whole", "error"),
    [
        pytest.param(1, 0.0, False, 0.0, id="the run"),
        pytest.param(1, 0.0, True, -0.041, id="the whole file"),
        pytest.param(1, 30.0, False, -0.011, id="half a minute late"),
        pytest.param(1, -30.0, False, -0.0125, id="half a minute early"),
        pytest.param(15, 0.0, False, -0.0023, id="every 15 s"),
        pytest.param(60, 0.0, False, 0.0007, id="every minute"),
    ],
)
def test_errors(trace: Trace, every: int, shift_seconds: float, whole: bool, error: float) -> None:
    """The right window is right; the whole file, a shift and slow readings err by what they must."""
    run = [watts for t, watts in trace.rows if trace.begin <= t <= trace.end]
    begin, end = trace.begin + shift_seconds, trace.end + shift_seconds
    rows = [(t, watts) for t, watts in trace.rows[::every] if whole or begin <= t <= end]
    node = accounted(rows, float(every))

    assert rows[-1][0] - rows[0][0] == pytest.approx(node.covered_seconds)
    watts = node.energy_joules / node.covered_seconds
    assert error == pytest.approx(watts / (sum(run) / len(run)) - 1.0, abs=1e-3)
