"""Names of workloads, each given to one engine only."""

from collections.abc import Hashable, Iterable


class WorkloadNames:
    """
    Keep the names of workloads apart: two engines of one job or one pod are two workloads.

    Who comes first has the plain name; who comes next is told apart by its port. Names in *configured*
    are given to nobody.
    """

    def __init__(self, configured: Iterable[str] = ()) -> None:
        self._owners: dict[str, Hashable] = dict.fromkeys(configured)

    def claim(self, owner: Hashable, name: str, port: int) -> str:
        """Give *owner* a name in place of the one that it had: *name*, with its port where that is taken."""
        self.release(owner)
        number, candidate = 1, name
        while candidate in self._owners:
            candidate = f"{name}-{port}" if number == 1 else f"{name}-{port}-{number}"
            number += 1
        self._owners[candidate] = owner
        return candidate

    def reserve(self, owner: Hashable, name: str) -> bool:
        """Give *owner* exactly this name; False where another one has it."""
        return self._owners.setdefault(name, owner) == owner

    def release(self, owner: Hashable) -> None:
        """Let another owner have the name of one that is over."""
        self._owners = {taken: other for taken, other in self._owners.items() if other != owner}
