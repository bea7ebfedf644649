"""
Builds the fake driver library from the C sources beside this file.

The sources include NVIDIA's own nvml.h (PyPI nvidia-nvml-dev) and warnings are errors, so a signature or a
struct that disagrees with NVIDIA's does not compile.
"""

import hashlib
import importlib.util
import os
import shutil
import subprocess
import tempfile
from pathlib import Path

SOURCES = Path(__file__).parent
CACHE = SOURCES.parents[1] / ".cache" / "fakenvml"
SONAME = "libnvidia-ml.so.1"
FLAGS = ("-std=gnu11", "-O2", "-fPIC", "-shared", "-Wall", "-Wextra", "-Wstrict-prototypes", "-Werror")


def header_directory() -> Path:
    """The folder of NVIDIA's nvml.h, wherever the installed nvidia-nvml-dev puts it."""
    spec = importlib.util.find_spec("nvidia")
    for location in spec.submodule_search_locations if spec and spec.submodule_search_locations else ():
        for header in sorted(Path(location).glob("**/nvml.h")):
            return header.parent
    raise FileNotFoundError("nvml.h not found: install the test requirements (nvidia-nvml-dev)")


def _digest(headers: Path) -> str:
    digest = hashlib.sha256(" ".join(FLAGS).encode())
    for source in [*sorted(SOURCES.glob("*.[ch]")), headers / "nvml.h"]:
        digest.update(source.read_bytes())
    return digest.hexdigest()[:16]


def library() -> Path:
    """The path of the built library; builds it when a source or the header changed. Safe side by side."""
    headers = header_directory()
    built = CACHE / _digest(headers) / SONAME
    if not built.exists():
        built.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=CACHE) as scratch:
            fresh = Path(scratch) / SONAME
            compile_library(fresh, headers)
            os.replace(fresh, built)  # noqa: PTH105 - one atomic step, so that no one loads half a library
    return built


def compile_library(output: Path, headers: Path) -> None:
    """Run the compiler; raises RuntimeError with what it said."""
    compiler = shutil.which("gcc") or shutil.which("cc")
    if compiler is None:
        raise FileNotFoundError("no C compiler: install the Debian package gcc")
    sources = [str(source) for source in sorted(SOURCES.glob("*.c"))]
    command = [
        compiler,
        *FLAGS,
        f"-I{headers}",
        f"-Wl,-soname,{SONAME}",
        "-o",
        str(output),
        *sources,
        "-lm",
        "-lpthread",
    ]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    if result.returncode != 0:
        raise RuntimeError(f"the fake driver does not compile:\n{result.stderr}")
