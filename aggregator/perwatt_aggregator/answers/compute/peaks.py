"""
Peaks of GPUs: dense FLOP/s by precision, and the rate of their NVLinks.

Data sheets print figures with structured sparsity first; these are twice as high and are never used. NVLink
rates in each direction are from the vendor's pages by generation: 6 x 25, 12 x 25, 18 x 25 or 18 x 50 GB/s.
"""

from collections.abc import Mapping, Sequence
from fnmatch import fnmatchcase
from typing import Literal

from msgspec import Struct

from perwatt_aggregator.answers.compute.config import PeakConfig, Precision

PeakSource = Literal["table", "configured"]

_TERA = 1e12
_GIGA = 1e9
_VENDOR = "NVIDIA "

_COMPOSER = "data sheets, as cited by mosaicml/composer 003ec03f, callbacks/speed_monitor.py"
_ENGINEERING = "vendor pages, as cited by stas00/ml-engineering 744d01e1, compute/accelerator"


class Board(Struct, frozen=True):
    """
    GPUs of one kind by their names in NVML: teraFLOP/s by precision (operations for int8), and gigabytes per
    second of all NVLinks in each direction, if the board has them. `from_data_sheet` if all figures are.
    """

    names: tuple[str, ...]
    tera: Mapping[Precision, float]
    source: str
    nvlink_giga: float | None = None
    from_data_sheet: bool = True


_HOPPER_SXM: Mapping[Precision, float] = {
    "fp32": 67,
    "tf32": 494.5,
    "fp16": 989.5,
    "bf16": 989.5,
    "fp8": 1979,
    "int8": 1979,
}

TABLE: tuple[Board, ...] = (
    Board(
        ("Tesla V100-SXM2-16GB", "Tesla V100-SXM2-32GB"),
        {"fp32": 15.7, "fp16": 125},
        _COMPOSER,
        nvlink_giga=150,
    ),
    Board(("Tesla V100-PCIE-16GB", "Tesla V100-PCIE-32GB"), {"fp32": 14, "fp16": 112}, _COMPOSER),
    Board(("Tesla T4",), {"fp32": 8.1, "fp16": 65, "int8": 130}, _COMPOSER),
    Board(("NVIDIA A10",), {"fp32": 31.2, "tf32": 62.5, "fp16": 125, "bf16": 125}, _COMPOSER),
    Board(
        ("NVIDIA L4",),
        {"fp32": 30.3, "tf32": 60, "fp16": 121, "bf16": 121, "fp8": 242.5, "int8": 242.5},
        "the product page, which prints twice as much, with sparsity",
    ),
    Board(
        ("NVIDIA L40S",),
        {"fp32": 91.6, "tf32": 183, "fp16": 362, "bf16": 362, "fp8": 733, "int8": 733},
        _ENGINEERING,
    ),
    Board(
        ("NVIDIA A100-SXM4-40GB",),
        {"fp32": 19.5, "tf32": 156, "fp16": 312, "bf16": 312, "int8": 624},
        _COMPOSER,
        nvlink_giga=300,
    ),
    Board(
        ("NVIDIA A100-SXM4-80GB",),
        {"fp32": 19.5, "tf32": 156, "fp16": 312, "bf16": 312, "int8": 624},
        _ENGINEERING,
        nvlink_giga=300,
    ),
    Board(
        ("NVIDIA A100 80GB PCIe",),
        {"fp32": 19.5, "tf32": 156, "fp16": 312, "bf16": 312, "int8": 624},
        _ENGINEERING,
    ),
    Board(
        ("NVIDIA H100 PCIe",),
        {"fp32": 51, "tf32": 378, "fp16": 756, "bf16": 756, "fp8": 1513, "int8": 1513},
        _ENGINEERING,
    ),
    Board(
        ("NVIDIA H100 NVL",),
        {"fp32": 60, "tf32": 417.5, "fp16": 835.5, "bf16": 835.5, "fp8": 1671, "int8": 1671},
        "half of what is printed with sparsity; no data sheet at hand",
        from_data_sheet=False,
    ),
    Board(("NVIDIA H100 80GB HBM3",), _HOPPER_SXM, _ENGINEERING, nvlink_giga=450),
    Board(("NVIDIA H200",), _HOPPER_SXM, _ENGINEERING, nvlink_giga=450),
    Board(
        ("NVIDIA B200",),
        {"fp32": 80, "tf32": 1125, "fp16": 2250, "bf16": 2250, "fp8": 4500, "int8": 4500, "fp4": 9000},
        _ENGINEERING,
        nvlink_giga=900,
    ),
    Board(
        ("NVIDIA GB200",),
        {"fp32": 80, "tf32": 1250, "fp16": 2500, "bf16": 2500, "fp8": 5000, "int8": 5000, "fp4": 10000},
        _ENGINEERING,
        nvlink_giga=900,
    ),
    Board(
        ("NVIDIA B300 SXM6 AC",),
        {"fp32": 80, "tf32": 1125, "fp16": 2250, "bf16": 2250, "fp8": 4500, "int8": 4500, "fp4": 12600},
        _ENGINEERING,
        nvlink_giga=900,
    ),
    Board(
        ("NVIDIA GeForce RTX 4090",),
        {"fp32": 82.6, "tf32": 82.6, "fp16": 165.2, "bf16": 165.2, "fp8": 330.3, "int8": 330.3},
        "as collected by users; sums in fp32",
        from_data_sheet=False,
    ),
    Board(
        ("Simulated H100 80GB",),
        _HOPPER_SXM,
        "by definition: an NVIDIA H100 80GB HBM3 that does not exist",
        nvlink_giga=450,
    ),
)
"""In order of their age. A GPU that is not here can be configured under `compute.peaks`."""


class Peak(Struct, frozen=True):
    """The dense peak of one GPU in FLOP/s; `is_certain` if it is configured or from a data sheet."""

    flops_per_second: float
    source: PeakSource
    is_certain: bool = True


class Peaks:
    """Peaks by the name of the GPU: configured ones first, then the table."""

    def __init__(self, configured: Sequence[PeakConfig] = ()) -> None:
        self._configured = configured
        self._boards = {_bare(name): board for board in TABLE for name in board.names}

    def of(self, gpu: str, precision: Precision) -> Peak | None:
        """The peak of *gpu*, by its name in NVML; None if it is not known."""
        for stated in self._stated(gpu):
            flops: float | None = getattr(stated, precision)
            if flops is not None:
                return Peak(flops, "configured")
        board = self._boards.get(_bare(gpu))
        tera = None if board is None else board.tera.get(precision)
        return None if board is None or tera is None else Peak(tera * _TERA, "table", board.from_data_sheet)

    def nvlink_bytes_per_second(self, gpu: str) -> float | None:
        """The rate of all NVLinks of *gpu* in each direction; None if it is not known."""
        for stated in self._stated(gpu):
            if stated.nvlink_bytes_per_second is not None:
                return stated.nvlink_bytes_per_second
        board = self._boards.get(_bare(gpu))
        return None if board is None or board.nvlink_giga is None else board.nvlink_giga * _GIGA

    def _stated(self, gpu: str) -> Sequence[PeakConfig]:
        return [stated for stated in self._configured if fnmatchcase(gpu, stated.gpu)]


def _bare(name: str) -> str:
    """The name without the vendor, because older drivers leave it out."""
    return name.removeprefix(_VENDOR)
