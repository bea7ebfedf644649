"""Driver calls about one GPU that write into room made once, as the binding makes it anew for each call."""

import ctypes
import struct
from typing import Any

import pynvml

from perwatt_agent.nvml.errors import SUCCESS


class Direct:
    """
    One call through the binding's own function pointer: 0.5 us where the binding's wrapper takes 1.5 to 5.

    *layout* says in `struct`'s terms what of *room* is returned; *arguments* stand before the room in the
    call. One GPU has one of these, as it is never called twice at the same time.
    """

    def __init__(self, symbol: str, layout: str, room: Any, *arguments: Any) -> None:
        self._symbol = symbol
        self._layout = struct.Struct(layout)
        self._room = room
        self._arguments = (*arguments, ctypes.byref(room))

    def __call__(self, handle: Any) -> tuple[Any, ...]:
        """Raises NVMLError."""
        code = pynvml._nvmlGetFunctionPointer(self._symbol)(handle, *self._arguments)
        if code != SUCCESS:
            raise pynvml.NVMLError(code)
        return self._layout.unpack(self._room)
