"""Registry of workload names: each name belongs to one engine or job."""

from collections.abc import Hashable, Iterable


class WorkloadNames:
    """
    Keeps workload names unique: two engines of one job or one pod are two workloads.

    The first has the plain name, the next ones have their port appended. Names in *configured* are reserved.
    """

    def __init__(self, configured: Iterable[str] = ()) -> None:
        self._owners: dict[str, Hashable] = dict.fromkeys(configured)

    def claim(self, owner: Hashable, name: str, port: int) -> str:
        """Give *owner* the name *name*, with its port if taken; its previous name becomes free."""
        self.release(owner)
        number, candidate = 1, name
        while candidate in self._owners:
            candidate = f"{name}-{port}" if number == 1 else f"{name}-{port}-{number}"
            number += 1
        self._owners[candidate] = owner
        return candidate

    def reserve(self, owner: Hashable, name: str) -> bool:
        """Give *owner* exactly this name. Return False if another owner has it."""
        return self._owners.setdefault(name, owner) == owner

    def release(self, owner: Hashable) -> None:
        """Free the names of *owner*."""
        self._owners = {taken: other for taken, other in self._owners.items() if other != owner}
