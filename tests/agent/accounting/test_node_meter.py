"""However meters come and go, a reader of the node's series finds no joule that was not used."""

import msgspec
from hypothesis import given
from hypothesis import strategies as st
from support.accounts.readings import sweep

from perwatt_agent.accounting.account import Account, AccountState
from perwatt_agent.facts.readings import MeterSample

WATTS = 1_000.0
FIRST = 5_000.0

SPANS = st.lists(
    st.tuples(st.integers(1, 90), st.booleans(), st.booleans(), st.booleans(), st.booleans()),
    min_size=1,
    max_size=8,
)
"""For so many seconds: whether a counter, two powers of other trust, and the agent itself are there."""


class Reader:
    """Adds up the growth of each series, as Prometheus does; a fall would be a restart to it."""

    def __init__(self) -> None:
        self.joules = self.covered_seconds = 0.0
        self._last: dict[str, tuple[float, float]] = {}

    def see(self, source: str, joules: float, covered_seconds: float) -> None:
        before = self._last.get(source, (joules, covered_seconds))
        assert joules >= before[0]
        self.joules += joules - before[0]
        self.covered_seconds += covered_seconds - before[1]
        self._last[source] = (joules, covered_seconds)


@given(spans=SPANS)
def test_no_false_joule(spans: list[tuple[int, bool, bool, bool, bool]]) -> None:
    """Sums over sources are never more than what the node used, and cover no second twice."""
    account, reader, t = Account(1.0), Reader(), FIRST
    for seconds, has_pdu, has_redfish, has_ipmi, has_agent in spans:
        if not has_agent:
            t += seconds
            saved = msgspec.json.encode(account.state())
            account = Account(1.0, state=msgspec.json.decode(saved, type=AccountState))
            continue
        for _ in range(seconds):
            t += 1.0
            given = (
                (has_pdu, MeterSample("pdu", t, energy_joules=WATTS * t, period_seconds=1.0)),
                (has_redfish, MeterSample("redfish", t, WATTS, period_seconds=1.0)),
                (has_ipmi, MeterSample("ipmi", t, WATTS, period_seconds=1.0)),
            )
            meters = [sample for is_there, sample in given if is_there]
            for node in account.advance(sweep(t, {}, meters=meters)).node_meters:
                reader.see(node.source, node.energy_joules, node.covered_seconds)

    assert reader.joules <= WATTS * (t - FIRST) + 1e-6
    assert abs(reader.joules - WATTS * reader.covered_seconds) < 1e-6 * (1.0 + reader.joules)
