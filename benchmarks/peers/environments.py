"""Virtual environments of what is measured beside perwatt, each from a file of versions and hashes."""

import logging
import os
import subprocess
import venv
from pathlib import Path
from typing import NamedTuple

logger = logging.getLogger(__name__)

HERE = Path(__file__).parent
CACHE = HERE.parents[1] / ".cache" / "benchmarks"
QUIET = ("--quiet", "--disable-pip-version-check", "--root-user-action=ignore")


class Peers(NamedTuple):
    """One environment, on this Python, and where it lies."""

    folder: Path

    @property
    def python(self) -> Path:
        return self.folder / "bin" / "python"

    def program(self, name: str) -> str:
        return str(self.folder / "bin" / name)

    def version(self, distribution: str) -> str:
        ask = f"from importlib.metadata import version; print(version({distribution!r}))"
        return subprocess.run(
            [self.python, "-c", ask], check=True, capture_output=True, text=True
        ).stdout.strip()


def exporters() -> Peers | None:
    """nvitop-exporter; None where it cannot be installed."""
    return _installed("peers", HERE / "requirements.txt")


def energy_tools() -> Peers | None:
    """codecarbon and zeus, 500 MB; None where they cannot be installed."""
    return _installed("energy", HERE / "requirements-energy.txt")


def _installed(name: str, wanted: Path) -> Peers | None:
    peers = Peers(CACHE / name)
    try:
        if not peers.python.exists():
            venv.create(peers.folder, with_pip=True)
        subprocess.run(
            [peers.python, "-m", "pip", "install", *QUIET, "--require-hashes", "-r", wanted],
            check=True,
            capture_output=True,
            env={**os.environ, "PYTHONWARNINGS": "ignore"},
        )
    except (OSError, subprocess.CalledProcessError) as error:
        said = error.stderr.decode() if isinstance(error, subprocess.CalledProcessError) else error
        logger.warning("%s cannot be installed, so nothing is compared with it: %s", wanted.name, said)
        return None
    return peers
