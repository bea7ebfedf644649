"""A workload shows what its pages said, when they have been settled, and who it is."""

import msgspec
from support.accounts.readings import counts, page

from perwatt_agent.accounting.gpu_account import GpuAccount
from perwatt_agent.accounting.workload_account import (
    LOOK_UP_SECONDS,
    MISSING_SECONDS,
    WorkloadAccount,
    WorkloadState,
)
from perwatt_agent.facts.workload import WorkloadInfo


def read(ledger: GpuAccount, *instants: float) -> None:
    for t in instants:
        ledger.read(t, 300.0 * (t - 100.0), t - 100.0, busy=True)


def held(*instants: float) -> GpuAccount:
    ledger = GpuAccount()
    read(ledger, *instants[:1])
    ledger.join("a")
    read(ledger, *instants[1:])
    return ledger


def test_claim() -> None:
    """A claim is not a page: the workload is known, and not up."""
    workload = WorkloadAccount(WorkloadInfo("a"))
    workload.hear(page("a", 100.0))

    shown = workload.snapshot({})
    assert (False, None, ()) == (shown.up, shown.counts, shown.energy)


def test_waits_for_its_gpus() -> None:
    """A page is shown once every GPU was read at or after it, with the joules up to its instant."""
    workload, ledger = WorkloadAccount(WorkloadInfo("a")), held(100.0, 101.0)
    workload.hear(page("a", 101.5, counts(5.0, running=1.0)))
    workload.settle({"GPU-0": ledger}, 101.6)
    assert (True, None) == (workload.snapshot({}).up, workload.snapshot({}).counts)

    read(ledger, 102.0)
    workload.settle({"GPU-0": ledger}, 102.1)
    shown = workload.snapshot({})
    assert (5.0, 450.0, 1.5) == (
        shown.counts and shown.counts.output_tokens,
        shown.energy[0].active_joules,
        shown.covered_seconds,
    )


def test_does_not_wait_for_ever() -> None:
    """A page waits a minute for a GPU; the pages after it do not, until the GPU is read again."""
    workload, ledger = WorkloadAccount(WorkloadInfo("a")), held(100.0, 101.0)
    workload.hear(page("a", 105.0, counts(5.0)))
    workload.settle({"GPU-0": ledger}, 104.9 + MISSING_SECONDS)
    assert workload.snapshot({}).counts is None

    workload.settle({"GPU-0": ledger}, 105.0 + MISSING_SECONDS)
    assert counts(5.0) == workload.snapshot({}).counts

    workload.hear(page("a", 170.0, counts(6.0)))
    workload.settle({"GPU-0": ledger}, 170.1)
    assert counts(6.0) == workload.snapshot({}).counts
    assert 0.0 == workload.snapshot({}).covered_seconds

    read(ledger, 171.0)
    workload.hear(page("a", 175.0, counts(7.0)))
    workload.settle({"GPU-0": ledger}, 175.1)
    assert counts(6.0) == workload.snapshot({}).counts

    read(ledger, 176.0)
    workload.settle({"GPU-0": ledger}, 176.1)
    (energy,) = workload.snapshot({}).energy
    assert counts(7.0) == workload.snapshot({}).counts
    assert 300.0 * 75.0 == energy.active_joules + energy.idle_joules


def test_without_gpus() -> None:
    """A workload that holds no GPU here shows its tokens, and no joule."""
    workload = WorkloadAccount(WorkloadInfo("a"))
    workload.hear(page("a", 101.0, counts(5.0), gpus=()))
    workload.settle({}, 101.1)

    assert (counts(5.0), ()) == (workload.snapshot({}).counts, workload.snapshot({}).energy)


def test_up() -> None:
    """A workload is up as long as its page answers; what it said last stays."""
    workload = WorkloadAccount(WorkloadInfo("a"))
    workload.hear(page("a", 101.0, counts(5.0), gpus=()))
    workload.hear(page("a", 106.0, failure="refused", gpus=()))
    workload.settle({}, 106.1)

    assert (False, counts(5.0)) == (workload.snapshot({}).up, workload.snapshot({}).counts)


def test_remembered() -> None:
    """A new agent goes on where the last one was, and knows that the engine went on too."""
    workload, ledger = WorkloadAccount(WorkloadInfo("a")), held(100.0, 102.0)
    workload.hear(page("a", 101.0, counts(5.0, running=0.0, born=0.0)))
    workload.settle({"GPU-0": ledger}, 102.0)
    saved = msgspec.json.decode(msgspec.json.encode(workload.state), type=WorkloadState)

    workload = WorkloadAccount(WorkloadInfo("a"), saved)
    assert 300.0 == workload.snapshot({}).energy[0].idle_joules
    read(ledger, 200.0)
    workload.hear(page("a", 200.0, counts(5.0, running=0.0, born=0.0)))
    workload.settle({"GPU-0": ledger}, 200.0)
    assert 300.0 * 100.0 == workload.snapshot({}).energy[0].idle_joules


class TestInfo:
    """A workload's info is shown once it is known or looking it up took too long, and never changes then."""

    def test_known(self) -> None:
        workload = WorkloadAccount(WorkloadInfo("a"))
        workload.hear(page("a", 100.0))
        assert not workload.snapshot({}).info_is_final

        known = msgspec.structs.replace(page("a", 105.0, counts(1.0)), info=WorkloadInfo("a", engine="vllm"))
        workload.hear(known)
        workload.hear(page("a", 110.0, counts(1.0)))
        assert (True, "vllm") == (workload.snapshot({}).info_is_final, workload.snapshot({}).info.engine)

    def test_took_too_long(self) -> None:
        workload = WorkloadAccount(WorkloadInfo("a"))
        workload.hear(page("a", 100.0))
        workload.hear(page("a", 100.0 + LOOK_UP_SECONDS, failure="refused"))

        assert workload.snapshot({}).info_is_final


def test_missing_gpus() -> None:
    """How many GPUs are missing is what was said last; once it is over nothing is known of it."""
    workload = WorkloadAccount(WorkloadInfo("a"))
    for missing in (None, 2, 0):
        workload.hear(msgspec.structs.replace(page("a", 100.0), missing_gpus=missing))
        assert missing == workload.snapshot({}).missing_gpus

    workload.hear(msgspec.structs.replace(page("a", 101.0, gpus=()), ended=True))
    assert None is workload.snapshot({}).missing_gpus


def test_joules_are_shown_from_zero_on() -> None:
    """A GPU that is first read after the first page is shown with 0 joules before it is shown with any."""
    workload = WorkloadAccount(WorkloadInfo("a"))
    workload.hear(page("a", 100.0, counts(5.0, running=1.0)))
    workload.settle({}, 100.5)
    assert () == workload.snapshot({}).energy

    ledger = held(101.0, 102.0)
    workload.settle({"GPU-0": ledger}, 102.0)
    (energy,) = workload.snapshot({"GPU-0": ledger}).energy
    assert ("GPU-0", 0.0, 0.0) == (energy.gpu, energy.active_joules, energy.idle_joules)
