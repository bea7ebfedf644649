"""`make bench-compare` matches the works of two commits by name."""

from benchmarks.compare import report

BEFORE = {"page": [0.002], "sweep": [0.004], "only before": [0.001]}
AFTER = {"page": [0.001], "sweep": [0.006], "only after": [0.001]}


def test_works_are_matched_by_name() -> None:
    """A work that one commit cannot do is left out. Below 1, the second commit is cheaper."""
    counts = ({"page": 2_000_000.0, "sweep": 3_000_000.0}, {"page": 1_000_000.0})
    lines = report("old", "new", [(BEFORE, AFTER)], counts).splitlines()
    assert ["page", "sweep"] == [line.split("|")[1].strip() for line in lines[2:]]
    assert "| page | 2.000 | 1.000 | 0.500 | 2000 | 1000 | 0.500 |" == lines[2]
    assert "| sweep | 4.000 | 6.000 | 1.500 | - | - | - |" == lines[3]
