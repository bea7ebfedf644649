"""A GPU's account gives every joule one owner, whoever joins, leaves or does not answer."""

import msgspec
import pytest

from perwatt_agent.accounting.gpu_account import GpuAccount, GpuAccountState


def account_at(t: float = 100.0, *holders: str) -> GpuAccount:
    made = GpuAccount()
    made.read(t, 0.0, 0.0, busy=False)
    for name in holders:
        made.join(name)
    return made


def test_unheld() -> None:
    """What nobody holds is booked at once: unknown while something ran, else unallocated."""
    account = account_at()
    account.read(101.0, 300.0, 1.0, busy=True)
    account.read(102.0, 400.0, 2.0, busy=False)

    assert (100.0, 300.0, 0.0) == (
        account.unallocated_joules,
        account.unknown_joules,
        account.waiting_joules(),
    )


def test_shares_are_of_their_time() -> None:
    """Who joins late shares from then on; what was used before stays with those who were there."""
    account = account_at(100.0, "a")
    account.read(110.0, 3_000.0, 10.0, busy=True)
    account.join("b")
    account.read(120.0, 6_000.0, 20.0, busy=True)

    assert 6_000.0 == account.waiting_joules()
    assert 4_500.0 == account.take("a", 100.0, 120.0).joules
    assert 1_500.0 == account.take("b", 110.0, 120.0).joules
    assert 0.0 == account.waiting_joules()


def test_leaving() -> None:
    """What waited for one who leaves is nobody's, and the others share what comes."""
    account = account_at(100.0, "a", "b")
    account.read(110.0, 3_000.0, 10.0, busy=True)
    account.leave("b")
    account.read(120.0, 6_000.0, 20.0, busy=True)

    assert (1_500.0, 4_500.0) == (account.unknown_joules, account.waiting_joules())


def test_nothing_is_given_up_before_it_was_read() -> None:
    """Giving up reaches to the last reading at most: what a lost GPU will tell still waits."""
    account = account_at(100.0, "a")
    account.write_off("a", 500.0)
    account.read(600.0, 3_000.0, 500.0, busy=True)

    assert (0.0, 3_000.0) == (account.unknown_joules, account.waiting_joules())


def test_joined_before_the_first_reading() -> None:
    """A GPU can be claimed before it is first read; its account begins with the reading."""
    account = GpuAccount()
    account.join("a")
    assert 0.0 == account.waiting_joules()
    assert account.state() is None

    account.read(100.0, 0.0, 0.0, busy=True)
    account.read(101.0, 300.0, 1.0, busy=True)
    assert 300.0 == account.waiting_joules()


def test_saved_and_loaded() -> None:
    """Holders that are settled to different instants keep to the joule what they are still owed."""
    account = account_at(100.0, "a", "b", "c")
    for t, joules in ((101.0, 100.0), (102.0, 1_000.0), (103.0, 1_001.0), (104.0, 5_000.0)):
        account.read(t, joules, t - 100.0, busy=True)
    account.take("a", 100.0, 102.5)
    account.take("b", 100.0, 101.25)
    account.forget()

    loaded = GpuAccount(msgspec.json.decode(msgspec.json.encode(account.state()), type=GpuAccountState))

    assert pytest.approx(account.waiting_joules(), rel=1e-12) == loaded.waiting_joules()
    for name, start in (("a", 102.5), ("b", 101.25), ("c", 100.0)):
        assert account.take(name, start, 104.0) == loaded.take(name, start, 104.0)
