"""Coverage of an engine's GPUs by its page: the data-parallel ranks that it counts, against its launch."""

from msgspec import Struct


class RequestedGpus(Struct, frozen=True):
    """
    What a launch requests: GPUs of each data-parallel rank, and ranks that it starts itself.

    `has_ranks` is whether the page of this engine labels the ranks that it counts.
    """

    per_rank: int
    ranks: int = 1
    has_ranks: bool = False

    @property
    def gpus(self) -> int:
        """GPUs of all the ranks that it starts itself."""
        return self.per_rank * self.ranks

    def missing(self, held: int, ranks_on_page: int | None) -> int:
        """
        Return how many GPUs are missing, of *held* ones and of those that the page counts.

        If the page counts ranks elsewhere too, their GPUs are missing here. If it counts fewer ranks than the
        launch has, the GPUs of the others have joules and no tokens: these are missing from the page.
        """
        ranks = ranks_on_page if self.has_ranks and ranks_on_page is not None else self.ranks
        return max(0, ranks * self.per_rank - held) + self.uncovered(held, ranks_on_page)

    def uncovered(self, held: int, ranks_on_page: int | None) -> int:
        """Return how many of the *held* GPUs compute for ranks that the page does not count."""
        if not self.has_ranks or ranks_on_page is None or ranks_on_page >= self.ranks:
            return 0
        return max(0, held - ranks_on_page * self.per_rank)
