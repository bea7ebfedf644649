"""A node's account that is audited after every sweep."""

from collections import defaultdict
from collections.abc import Mapping

import msgspec
import pytest

from perwatt_agent.accounting.account import Account, AccountState
from perwatt_agent.facts.snapshot import Snapshot
from perwatt_agent.facts.workload import Method, WorkloadGpuEnergy, WorkloadSnapshot
from support.accounts.node import Engine, Node
from support.accounts.readings import workload_joules

Ledger = defaultdict[tuple[str, ...], float]


class Books:
    """A node's account, audited after every sweep."""

    def __init__(self, node: Node, idle_watts: Mapping[str, float] | None = None) -> None:
        self.node = node
        self._idle_watts = idle_watts
        self.account = Account(1.0, idle_watts=idle_watts)
        self.snapshot: Snapshot | None = None
        self._booked: Ledger = defaultdict(float)
        self._names: set[str] = set()

    def run(self, seconds: int) -> None:
        for _ in range(seconds):
            self.snapshot = self.account.advance(self.node.sweep())
            self._audit()

    def restart_agent(self, seconds: float) -> None:
        """Start another agent after some time, from what the first one saved."""
        saved = msgspec.json.encode(self.account.state())
        state = msgspec.json.decode(saved, type=AccountState)
        self.account = Account(1.0, idle_watts=self._idle_watts, state=state)
        self._audit()
        self.node.advance(seconds)
        self.node.forget_claims()

    def shown(self, workload: str = "a") -> WorkloadSnapshot:
        assert self.snapshot is not None
        return next(shown for shown in self.snapshot.workloads if shown.info.workload == workload)

    def joules(self, workload: str = "a") -> float:
        assert self.snapshot is not None
        return workload_joules(self.snapshot, workload)

    def energy(self, workload: str = "a", gpu: int = 0) -> WorkloadGpuEnergy:
        """What a workload is shown to have used of a GPU."""
        return next(one for one in self.shown(workload).energy if one.gpu == f"GPU-{gpu}")

    def method(self, workload: str = "a", gpu: int = 0) -> Method | None:
        return self.energy(workload, gpu).method

    def rest(self, gpu: int = 0) -> tuple[float, float]:
        """(unallocated, unknown) joules."""
        ledger = self.account.state().attribution.gpus[f"GPU-{gpu}"]
        return ledger.unallocated_joules, ledger.unknown_joules

    def accepted(self, gpu: int = 0) -> float:
        return self.account.state().energy[f"GPU-{gpu}"].accepted_joules

    def _audit(self) -> None:
        booked = self._books()
        for gpu, energy in self.account.state().energy.items():
            owned = sum(joules for key, joules in booked.items() if gpu in key)
            waiting = self.account.waiting_joules(gpu)
            assert waiting >= -1e-6
            assert pytest.approx(energy.accepted_joules, rel=1e-9, abs=1e-6) == owned + waiting
        known = self.account.state().attribution.workloads.keys()
        forgotten = self._names - known  # they live on in the sum of the ended alone
        for key, joules in self._booked.items():
            if forgotten.isdisjoint(key):
                assert 0.0 <= joules <= booked[key], key
        self._names |= known
        self._booked = booked

    def _books(self) -> Ledger:
        state = self.account.state().attribution
        books: Ledger = defaultdict(float)
        for gpu, ledger in state.gpus.items():
            books[gpu, "unallocated"] = ledger.unallocated_joules
            books[gpu, "unknown"] = ledger.unknown_joules
            books[gpu, "ended"] = ledger.ended_joules
        for workload, account in state.workloads.items():
            for model, used in account.models.items():
                books[workload, model, "covered"] = used.covered_seconds
                for gpu, by_doing in used.joules.items():
                    for doing, joules in by_doing.items():
                        books[gpu, workload, model, doing] = joules
        return books


def books_of(*engines: Engine, gpus: int = 1) -> Books:
    return Books(Node(gpus, engines))
