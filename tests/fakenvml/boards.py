"""The boards of a new fake driver, in shared memory's form."""

from ctypes import Array, addressof, memmove
from functools import cache
from typing import Any

from fakenvml.layout import MAX_GPUS, Gpu, assign
from fakenvml.profiles import PROFILES
from fakenvml.waveforms import Constant, Waveform

AT_FIRST = Constant(100.0)
"""What a GPU of a new driver draws."""


PIECE_BYTES = 256


def put_boards(into: "Array[Gpu]", architecture: str) -> None:
    """Write all boards as they are at first into memory that is zero; few pages are touched."""
    begin = addressof(into)
    for offset, piece in _pieces(architecture):
        memmove(begin + offset, piece, len(piece))


@cache
def _pieces(architecture: str) -> list[tuple[int, bytes]]:
    """Where the bytes of all boards are not zero; made once, since every driver has all 128."""
    boards = (Gpu * MAX_GPUS)()
    for gpu, board in enumerate(boards):
        assign(board, **{**_identity(gpu), **PROFILES[architecture]})
        write_segment(board, 1, 0.0, AT_FIRST)
    whole = bytes(boards)
    pieces = [(at, whole[at : at + PIECE_BYTES]) for at in range(0, len(whole), PIECE_BYTES)]
    return [(at, piece) for at, piece in pieces if any(piece)]


def write_segment(board: Gpu, count: int, start_seconds: float, waveform: Waveform) -> None:
    """Make *waveform* the last of *count* segments."""
    segment = board.segments[count - 1]
    segment.kind, segment.start_seconds = waveform.kind, start_seconds
    segment.parameters[: len(waveform.parameters)] = waveform.parameters
    board.segment_count = count


def _identity(gpu: int) -> dict[str, Any]:
    bus = 0x18 + 8 * gpu
    return {
        "uuid": f"GPU-{gpu:08x}-fa4e-4000-8000-0000000000{gpu:02x}",
        "serial": f"16529240{gpu:05d}",
        "minor_number": gpu,
        "pci_bus": bus & 0xFF,
        "pci_bus_id": f"{bus >> 8:08X}:{bus & 0xFF:02X}:00.0",
    }
