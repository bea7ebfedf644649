"""A workload publishes the counts of its pages once they are attributed, and its identity."""

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


def read(gpu_account: GpuAccount, *instants: float) -> None:
    for t in instants:
        gpu_account.read(t, 300.0 * (t - 100.0), t - 100.0, busy=True)


def held(*instants: float) -> GpuAccount:
    gpu_account = GpuAccount()
    read(gpu_account, *instants[:1])
    gpu_account.join("a")
    read(gpu_account, *instants[1:])
    return gpu_account


def test_claim() -> None:
    """A claim is not a page: the workload is known, and not up."""
    workload = WorkloadAccount(WorkloadInfo("a"))
    workload.receive(page("a", 100.0))

    shown = workload.snapshot({})
    assert (False, None, ()) == (shown.up, shown.counts, shown.energy)


def test_waits_for_its_gpus() -> None:
    """A page is shown once every GPU was read at or after it, with the joules up to its instant."""
    workload, gpu_account = WorkloadAccount(WorkloadInfo("a")), held(100.0, 101.0)
    workload.receive(page("a", 101.5, counts(5.0, running=1.0)))
    workload.attribute({"GPU-0": gpu_account}, 101.6)
    assert (True, None) == (workload.snapshot({}).up, workload.snapshot({}).counts)

    read(gpu_account, 102.0)
    workload.attribute({"GPU-0": gpu_account}, 102.1)
    shown = workload.snapshot({})
    assert (5.0, 450.0, 1.5) == (
        shown.counts and shown.counts.output_tokens,
        shown.energy[0].active_joules,
        shown.covered_seconds,
    )


def test_does_not_wait_for_ever() -> None:
    """A page waits a minute for a GPU; the pages after it do not, until the GPU is read again."""
    workload, gpu_account = WorkloadAccount(WorkloadInfo("a")), held(100.0, 101.0)
    workload.receive(page("a", 105.0, counts(5.0)))
    workload.attribute({"GPU-0": gpu_account}, 104.9 + MISSING_SECONDS)
    assert workload.snapshot({}).counts is None

    workload.attribute({"GPU-0": gpu_account}, 105.0 + MISSING_SECONDS)
    assert counts(5.0) == workload.snapshot({}).counts

    workload.receive(page("a", 170.0, counts(6.0)))
    workload.attribute({"GPU-0": gpu_account}, 170.1)
    assert counts(6.0) == workload.snapshot({}).counts
    assert 0.0 == workload.snapshot({}).covered_seconds

    read(gpu_account, 171.0)
    workload.receive(page("a", 175.0, counts(7.0)))
    workload.attribute({"GPU-0": gpu_account}, 175.1)
    assert counts(6.0) == workload.snapshot({}).counts

    read(gpu_account, 176.0)
    workload.attribute({"GPU-0": gpu_account}, 176.1)
    (energy,) = workload.snapshot({}).energy
    assert counts(7.0) == workload.snapshot({}).counts
    assert 300.0 * 75.0 == energy.active_joules + energy.idle_joules


def test_without_gpus() -> None:
    """A workload that holds no GPU here shows its tokens, and no joule."""
    workload = WorkloadAccount(WorkloadInfo("a"))
    workload.receive(page("a", 101.0, counts(5.0), gpus=()))
    workload.attribute({}, 101.1)

    assert (counts(5.0), ()) == (workload.snapshot({}).counts, workload.snapshot({}).energy)


def test_up() -> None:
    """A workload is up as long as its page answers; what it said last stays."""
    workload = WorkloadAccount(WorkloadInfo("a"))
    workload.receive(page("a", 101.0, counts(5.0), gpus=()))
    workload.receive(page("a", 106.0, failure="refused", gpus=()))
    workload.attribute({}, 106.1)

    assert (False, counts(5.0)) == (workload.snapshot({}).up, workload.snapshot({}).counts)


def test_remembered() -> None:
    """A new agent goes on where the last one was, and knows that the engine went on too."""
    workload, gpu_account = WorkloadAccount(WorkloadInfo("a")), held(100.0, 102.0)
    workload.receive(page("a", 101.0, counts(5.0, running=0.0, born=0.0)))
    workload.attribute({"GPU-0": gpu_account}, 102.0)
    saved = msgspec.json.decode(msgspec.json.encode(workload.state), type=WorkloadState)

    workload = WorkloadAccount(WorkloadInfo("a"), saved)
    assert 300.0 == workload.snapshot({}).energy[0].idle_joules
    read(gpu_account, 200.0)
    workload.receive(page("a", 200.0, counts(5.0, running=0.0, born=0.0)))
    workload.attribute({"GPU-0": gpu_account}, 200.0)
    assert 300.0 * 100.0 == workload.snapshot({}).energy[0].idle_joules


class TestInfo:
    """A workload's info is shown once it is known or looking it up took too long, and never changes then."""

    def test_known(self) -> None:
        workload = WorkloadAccount(WorkloadInfo("a"))
        workload.receive(page("a", 100.0))
        assert not workload.snapshot({}).info_is_final

        known = msgspec.structs.replace(page("a", 105.0, counts(1.0)), info=WorkloadInfo("a", engine="vllm"))
        workload.receive(known)
        workload.receive(page("a", 110.0, counts(1.0)))
        assert (True, "vllm") == (workload.snapshot({}).info_is_final, workload.snapshot({}).info.engine)

    def test_took_too_long(self) -> None:
        workload = WorkloadAccount(WorkloadInfo("a"))
        workload.receive(page("a", 100.0))
        workload.receive(page("a", 100.0 + LOOK_UP_SECONDS, failure="refused"))

        assert workload.snapshot({}).info_is_final


def test_missing_gpus() -> None:
    """How many GPUs are missing is what was said last; once it is over nothing is known of it."""
    workload = WorkloadAccount(WorkloadInfo("a"))
    for missing in (None, 2, 0):
        workload.receive(msgspec.structs.replace(page("a", 100.0), missing_gpus=missing))
        assert missing == workload.snapshot({}).missing_gpus

    workload.receive(msgspec.structs.replace(page("a", 101.0, gpus=()), ended=True))
    assert None is workload.snapshot({}).missing_gpus


def test_joules_are_shown_from_zero_on() -> None:
    """A GPU that is first read after the first page is shown with 0 joules before it is shown with any."""
    workload = WorkloadAccount(WorkloadInfo("a"))
    workload.receive(page("a", 100.0, counts(5.0, running=1.0)))
    workload.attribute({}, 100.5)
    assert () == workload.snapshot({}).energy

    gpu_account = held(101.0, 102.0)
    workload.attribute({"GPU-0": gpu_account}, 102.0)
    (energy,) = workload.snapshot({"GPU-0": gpu_account}).energy
    assert ("GPU-0", 0.0, 0.0) == (energy.gpu, energy.active_joules, energy.idle_joules)
