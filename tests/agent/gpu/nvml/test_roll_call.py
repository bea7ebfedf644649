"""Who asks the GPUs who they are."""

import threading

from support.gpus.devices import PATIENCE_SECONDS

from perwatt_agent.gpu.nvml.identify import RollCall


def test_quick_answers_share_a_thread() -> None:
    """One thread asks them all, and it is not the one that waits."""
    idents = RollCall[int](PATIENCE_SECONDS).take(lambda _: threading.get_ident(), 8, PATIENCE_SECONDS)

    assert list(range(8)) == list(idents)
    assert 1 == len(set(idents.values()))
    assert threading.get_ident() not in idents.values()


def test_slow_answers_come_side_by_side() -> None:
    """Where one waits, all others have a thread of their own."""
    together = threading.Barrier(8)

    def ask(index: int) -> int:
        together.wait(PATIENCE_SECONDS)
        return index

    assert {index: index for index in range(8)} == RollCall[int](0.0).take(ask, 8, PATIENCE_SECONDS)
