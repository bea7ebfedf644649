"""Folders of /sys as the kernel lays them out on real machines, under a root of the test."""

import os
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

NOBODY = 65534


@contextmanager
def open_folder() -> Iterator[Path]:
    """An empty folder that every user can look into."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        folder.chmod(0o755)
        yield folder


@contextmanager
def nobody() -> Iterator[None]:
    """Read files as a user without rights, for root may read all."""
    before = os.geteuid()
    if before == 0:
        os.seteuid(NOBODY)
    try:
        yield
    finally:
        os.seteuid(before)


def lay(root: Path, files: Mapping[str, str | int]) -> None:
    """Write files by their paths under *root*, as the kernel shows them: with a line's end."""
    for path, content in files.items():
        file = root / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(f"{content}\n")


def rapl_zone(
    folder: str, name: str, joules: float, range_joules: float = 262_143.328850
) -> dict[str, str | int]:
    """One zone of powercap."""
    return {
        f"{folder}/name": name,
        f"{folder}/energy_uj": round(joules * 1e6),
        f"{folder}/max_energy_range_uj": round(range_joules * 1e6),
    }


def acpi_meter(number: int, words: str, watts: float) -> dict[str, str | int]:
    """One power meter of ACPI; its files are with the device."""
    return {
        f"hwmon{number}/name": "power_meter",
        f"hwmon{number}/device/power1_average": round(watts * 1e6),
        f"hwmon{number}/device/power1_average_interval": 1000,
        f"hwmon{number}/device/power1_oem_info": words,
    }
