"""Driver calls about one GPU that write into room made once, as the binding makes it anew for each call."""

import ctypes
import struct
from collections.abc import Callable
from typing import Any

import pynvml

from perwatt_agent.gpu.nvml.driver.calls import Answer, Facts
from perwatt_agent.gpu.nvml.driver.errors import SUCCESS


class Direct:
    """
    One call through the binding's own function pointer: 0.5 us where the binding's wrapper takes 1.5 to 5.

    *layout* says in `struct`'s terms what of *room* is handed to *understand*, whose name is the call's;
    *arguments* stand before the room in the call. One GPU has one of these, as it is never called twice at
    the same time.
    """

    def __init__(
        self, symbol: str, layout: str, understand: Callable[..., Facts], room: Any, *arguments: Any
    ) -> None:
        self.__name__ = understand.__name__
        self._symbol = symbol
        self._function: Callable[..., int] | None = None
        self._layout = struct.Struct(layout)
        self._understand = understand
        self._room = room
        self._raw = b""
        self._facts: Facts = {}
        self._arguments = (*arguments, ctypes.byref(room))

    def __call__(self, handle: Any) -> Answer:
        """Raises NVMLError."""
        function = self._function
        if function is None:
            function = self._function = pynvml._nvmlGetFunctionPointer(self._symbol)
        code = function(handle, *self._arguments)
        if code != SUCCESS:
            raise pynvml.NVMLError(code)
        return self._answer

    def _answer(self) -> Facts:
        """Most answers are those of the second before, which were understood then."""
        raw = bytes(self._room)
        if raw != self._raw:
            self._raw, self._facts = raw, self._understand(*self._layout.unpack(raw))
        return self._facts
