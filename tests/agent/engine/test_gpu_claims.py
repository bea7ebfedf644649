"""Claims on GPUs that are not there: each is counted, by whatever name it is claimed."""

import pytest
from support.accounts.readings import info

from perwatt_agent.engine.gpu_claims import Claim, GpuClaims, GpuSelector
from perwatt_agent.facts.gpu import GpuInfo, GpuState
from perwatt_agent.facts.readings import GpuSample

GPUS = tuple(info(index) for index in range(4))


def missing(
    selector: GpuSelector,
    states: tuple[GpuState, ...] = ("ok",) * 4,
    unidentified: int = 0,
    known: tuple[GpuInfo, ...] = GPUS,
) -> int | None:
    """How many GPUs of a claim are missing after one cycle in which the GPUs had these states."""
    claims = GpuClaims((Claim("chat", selector),), lambda: unidentified)
    claims.update(GpuSample(gpu.uuid, state) for gpu, state in zip(known, states, strict=True))
    return claims.held(selector, known).missing


@pytest.mark.parametrize(
    ("selector", "expected"),
    [
        ("all", 0),
        ((0, 3), 0),
        ((0, 9), 1),
        ((8, 9), 2),
        (("GPU-1", "GPU-none"), 1),
        ((0, "GPU-0"), 0),
        ((), None),
    ],
)
def test_names_of_no_gpu(selector: GpuSelector, expected: int | None) -> None:
    """An index or a UUID that the machine lacks is a missing GPU."""
    assert expected == missing(selector)


@pytest.mark.parametrize("state", ["lost", "hung", "error"])
@pytest.mark.parametrize("selector", ["all", (0, 1), ("GPU-1",)])
def test_never_read(selector: GpuSelector, state: GpuState) -> None:
    """A GPU that could not be read since the agent's start is missing, whatever ails it."""
    assert 1 == missing(selector, ("ok", state, "ok", "ok"))
    assert 0 == missing((2, 3), ("ok", state, "ok", "ok"))


@pytest.mark.parametrize(("state", "expected"), [("ok", 0), ("lost", 1), ("hung", 0), ("error", 0)])
def test_read_before(state: GpuState, expected: int) -> None:
    """One that was read is missing once it is lost; while it fails, its own state says so."""
    claims = GpuClaims((Claim("chat", "all"),))
    claims.update([GpuSample("GPU-0", "ok")])
    claims.update([GpuSample("GPU-0", state)])

    assert expected == claims.held("all", GPUS[:1]).missing


def test_without_identity() -> None:
    """A claim on all GPUs misses those that have no identity; one on named GPUs does not."""
    assert (2, 0) == (missing("all", unidentified=2), missing((0,), unidentified=2))


def test_moved_up() -> None:
    """A claim by index means the GPU that had the index when all were there."""
    known = (info(0), GpuInfo("GPU-1", 1, "Test GPU"), GpuInfo("GPU-2", 1, "Test GPU", claim_index=2))
    claims = GpuClaims((Claim("chat", (1,)), Claim("code", (2,))))
    claims.update([GpuSample("GPU-0", "ok"), GpuSample("GPU-1", "lost"), GpuSample("GPU-2", "ok")])

    chat, code = (claims.held(selector, known) for selector in ((1,), (2,)))
    assert (("GPU-1",), 1) == (chat.gpus, chat.missing)
    assert (("GPU-2",), 0) == (code.gpus, code.missing)


def test_the_log_names_them_once(caplog: pytest.LogCaptureFixture) -> None:
    """A claim on a GPU that this machine lacks is logged once, with the setting to correct."""
    claims = GpuClaims((Claim("chat", (0, 9)),))
    for _ in range(3):
        claims.held((0, 9), GPUS)

    assert ["chat claims GPU 9, which this machine does not have, so its figures are not valid"] == [
        message.partition(";")[0] for message in caplog.messages
    ]
