"""A GPU's ledger gives every joule one owner, whoever joins, leaves or stays silent."""

import msgspec
import pytest

from perwatt_agent.accounting.gpu_account import GpuAccount, GpuAccountState


def ledger_at(t: float = 100.0, *holders: str) -> GpuAccount:
    made = GpuAccount()
    made.read(t, 0.0, 0.0, busy=False)
    for name in holders:
        made.join(name)
    return made


def test_unheld() -> None:
    """What nobody holds is booked at once: unknown while something ran, else unallocated."""
    ledger = ledger_at()
    ledger.read(101.0, 300.0, 1.0, busy=True)
    ledger.read(102.0, 400.0, 2.0, busy=False)

    assert (100.0, 300.0, 0.0) == (
        ledger.unallocated_joules,
        ledger.unknown_joules,
        ledger.waiting_joules(),
    )


def test_shares_are_of_their_time() -> None:
    """Who joins late shares from then on; what was used before stays with those who were there."""
    ledger = ledger_at(100.0, "a")
    ledger.read(110.0, 3_000.0, 10.0, busy=True)
    ledger.join("b")
    ledger.read(120.0, 6_000.0, 20.0, busy=True)

    assert 6_000.0 == ledger.waiting_joules()
    assert 4_500.0 == ledger.take("a", 100.0, 120.0).joules
    assert 1_500.0 == ledger.take("b", 110.0, 120.0).joules
    assert 0.0 == ledger.waiting_joules()


def test_leaving() -> None:
    """What waited for one who leaves is nobody's, and the others share what comes."""
    ledger = ledger_at(100.0, "a", "b")
    ledger.read(110.0, 3_000.0, 10.0, busy=True)
    ledger.leave("b")
    ledger.read(120.0, 6_000.0, 20.0, busy=True)

    assert (1_500.0, 4_500.0) == (ledger.unknown_joules, ledger.waiting_joules())


def test_nothing_is_given_up_before_it_was_read() -> None:
    """Giving up reaches to the last reading at most: what a lost GPU will tell still waits."""
    ledger = ledger_at(100.0, "a")
    ledger.give_up("a", 500.0)
    ledger.read(600.0, 3_000.0, 500.0, busy=True)

    assert (0.0, 3_000.0) == (ledger.unknown_joules, ledger.waiting_joules())


def test_joined_before_the_first_reading() -> None:
    """A GPU can be claimed before it is first read; its account begins with the reading."""
    ledger = GpuAccount()
    ledger.join("a")
    assert 0.0 == ledger.waiting_joules()
    assert ledger.state() is None

    ledger.read(100.0, 0.0, 0.0, busy=True)
    ledger.read(101.0, 300.0, 1.0, busy=True)
    assert 300.0 == ledger.waiting_joules()


def test_saved_and_loaded() -> None:
    """Holders that are settled to different instants keep to the joule what they are still owed."""
    ledger = ledger_at(100.0, "a", "b", "c")
    for t, joules in ((101.0, 100.0), (102.0, 1_000.0), (103.0, 1_001.0), (104.0, 5_000.0)):
        ledger.read(t, joules, t - 100.0, busy=True)
    ledger.take("a", 100.0, 102.5)
    ledger.take("b", 100.0, 101.25)
    ledger.forget()

    loaded = GpuAccount(msgspec.json.decode(msgspec.json.encode(ledger.state()), type=GpuAccountState))

    assert pytest.approx(ledger.waiting_joules(), rel=1e-12) == loaded.waiting_joules()
    for name, start in (("a", 102.5), ("b", 101.25), ("c", 100.0)):
        assert ledger.take(name, start, 104.0) == loaded.take(name, start, 104.0)
