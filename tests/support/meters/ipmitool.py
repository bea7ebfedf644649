"""Stand-in for the program ipmitool."""

import shlex
from pathlib import Path


class Ipmitool:
    """The stand-in at `path`: prints the text of the last `print`, and records its calls in `calls`."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "ipmitool"
        self.calls = folder / "calls"
        self._answer = folder / "answer"

    def print(self, text: str, *, status: int = 0, before: str = "") -> None:
        """Print a text and exit with a status from now on; *before* are commands to run first."""
        self._answer.write_bytes(text.encode("latin-1"))
        lines = [
            "#!/bin/sh",
            f'echo "$LC_ALL $*" >> {shlex.quote(str(self.calls))}',
            before,
            f"cat {shlex.quote(str(self._answer))}",
            f"exit {status}",
        ]
        self.path.write_text("\n".join(lines) + "\n")
        self.path.chmod(0o755)

    @staticmethod
    def reading(watts: object, period: str = "00000001 Seconds.", state: str = "activated") -> str:
        """What ipmitool prints of a BMC that measures."""
        return f"""
    Instantaneous power reading:              {watts:>8} Watts
    Minimum during sampling period:                 12 Watts
    Maximum during sampling period:               8711 Watts
    Average power reading over sample period:      388 Watts
    IPMI timestamp:                           Sat Nov 21 10:00:00 2026
    Sampling period:                          {period}
    Power reading state is:                   {state}


"""
