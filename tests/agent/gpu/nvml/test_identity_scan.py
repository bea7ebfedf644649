"""Identity scan: which thread reads which GPU."""

import threading

from support.gpus.devices import PATIENCE_SECONDS

from perwatt_agent.gpu.nvml.identity_scan import IdentityScan


def test_quick_reads_share_a_thread() -> None:
    """One thread reads them all, and it is not the one that waits."""
    idents = IdentityScan[int](PATIENCE_SECONDS).run(lambda _: threading.get_ident(), 8, PATIENCE_SECONDS)

    assert list(range(8)) == list(idents)
    assert 1 == len(set(idents.values()))
    assert threading.get_ident() not in idents.values()


def test_slow_reads_run_side_by_side() -> None:
    """Where one waits, all others have a thread of their own."""
    together = threading.Barrier(8)

    def read(index: int) -> int:
        together.wait(PATIENCE_SECONDS)
        return index

    assert {index: index for index in range(8)} == IdentityScan[int](0.0).run(read, 8, PATIENCE_SECONDS)
