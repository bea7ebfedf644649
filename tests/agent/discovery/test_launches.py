"""Every launch that is known, with the tree of its processes: root first, the process on the GPU last."""

import shutil
from pathlib import Path

import pytest

from perwatt_agent.discovery.process_table import ProcessTable
from perwatt_agent.discovery.search import DiscoveredEngine, SearchResult, search
from perwatt_agent.engine.catalog import ENGINES

PY = "/usr/bin/python3"
RAYLET = "/usr/lib/ray/raylet --raylet_socket_name=/tmp/s --metrics_export_port=8080"
CORE = "VLLM::EngineCore"

# The engine, the number of wrappers above its launch, and the command lines from there to the GPU.
LAUNCHES = [
    ("vllm", 0, f"{PY} /usr/bin/vllm serve m", CORE),
    ("vllm", 0, f"{PY} /usr/bin/vllm serve m", CORE, "VLLM::Worker_TP0"),
    ("vllm", 0, f"{PY} -m vllm.entrypoints.openai.api_server --model m", CORE),
    ("vllm", 0, f"{PY} -m vllm.entrypoints.cli.main serve m", CORE),
    ("vllm", 0, f"{PY}.13t -Xgil=0 -m vllm.entrypoints.cli.main serve m", CORE),
    ("vllm", 0, "/usr/bin/vllm-rs serve m", CORE),
    ("vllm", 0, f"{PY} /usr/bin/vllm-omni serve m", "VLLM::StageWorker"),
    ("vllm", 0, f"{PY} -m vllm_omni.entrypoints.cli.main serve m", "VLLM::StageWorker"),
    ("nim", 0, f"{PY} /opt/nim/bin/nim-serve", f"{PY} /usr/bin/vllm serve m", CORE),
    ("nim", 0, f"{PY} -m nim_llm_sdk.entrypoints.launch", f"{PY} -c main(7)"),
    ("kserve", 0, f"{PY} -m huggingfaceserver --model_name=m", CORE),
    ("aphrodite", 0, f"{PY} /usr/bin/aphrodite run m", f"{PY} -c main(7)"),
    ("ray", 0, RAYLET, "ray::ServeReplica:default:LLMServer", CORE),
    ("ray", 0, RAYLET, "ray::RayWorkerWrapper"),
    ("ray", 0, RAYLET, "ray::RayWorkerProc"),
    ("sglang", 0, f"{PY} -m sglang.launch_server --model-path m", "sglang::scheduler"),
    ("sglang", 0, f"{PY} /usr/bin/sglang serve --model-path m", "sglang::scheduler"),
    ("sglang", 0, f"{PY} -m sglang.cli.main serve --model-path m", "sglang::scheduler"),
    ("sglang", 1, f"{PY} -m sglang_router.launch_server --dp-size 2", "sglang::server", "sglang::scheduler"),
    ("dynamo", 0, f"{PY} -m dynamo.vllm --model m", CORE),
    ("dynamo", 0, f"{PY} -m dynamo.sglang --model m", "sglang::scheduler"),
    ("dynamo", 0, f"{PY} -m dynamo.trtllm --model m", f"{PY} -m mpi4py.futures.server"),
    ("dynamo", 0, f"{PY} -m dynamo.triton --model m"),
    ("dynamo", 0, f"{PY} -m dynamo.tokenspeed --model m"),
    ("trtllm", 0, f"{PY} /usr/bin/trtllm-serve serve m", "prte --daemon", f"{PY} -m mpi4py.futures.server"),
    ("trtllm", 0, f"{PY} -m tensorrt_llm.commands.serve m", f"{PY} -m mpi4py.futures.server"),
    ("tgi", 0, "text-generation-launcher --model-id m", f"{PY} /usr/bin/text-generation-server serve m"),
    ("llamacpp", 0, "/opt/llama/llama-server --metrics -m m.gguf"),
    ("llamacpp", 0, "/opt/llama/llama serve --metrics -m m.gguf"),
    ("llamacpp", 1, "/opt/llama/llama-server --models-dir /m", "/opt/llama/llama-server --port 9 --alias a"),
    ("lmdeploy", 0, f"{PY} /usr/bin/lmdeploy serve api_server m"),
    ("mlc", 0, f"{PY} -m mlc_llm serve m"),
    ("tei", 0, "text-embeddings-router --model-id m"),
    ("triton", 0, "/opt/triton/bin/tritonserver --model-repository m", "triton_python_backend_stub m.py"),
    ("mistralrs", 0, "/usr/bin/mistralrs serve -m m"),
    ("mistralrs", 0, "/usr/bin/mistralrs-server plain -m m"),
    ("ollama", 0, "/usr/local/bin/ollama serve", "/usr/local/bin/ollama runner --model m --port 40000"),
    ("vllm", 1, "/usr/bin/tini -- vllm serve m", f"{PY} /usr/bin/vllm serve m", CORE),
    ("vllm", 1, "sh|-c|vllm serve m", f"{PY} /usr/bin/vllm serve m", CORE),
    ("vllm", 1, "nsys profile -o out vllm serve m", f"{PY} /usr/bin/vllm serve m", CORE),
    ("vllm", 2, "tini -- uv run vllm serve m", "uv run vllm serve m", f"{PY} /opt/bin/vllm serve m", CORE),
    # `exec`, numactl, env, stdbuf and others become the engine, and leave nothing of their own.
]


def found(proc: Path, *commands: str) -> SearchResult:
    """What is found if *commands* are those of a chain of processes, the last of which computes."""
    shutil.rmtree(proc, ignore_errors=True)
    for place, command in enumerate(commands):
        folder = proc / str(100 + place)
        (folder / "fd").mkdir(parents=True)
        parent = 99 + place if place else 1
        zeros = " ".join(["0"] * 17)
        (folder / "stat").write_text(f"{100 + place} (x) S {parent} {zeros} {place + 1} 0 0\n")
        parts = command.split("|") if "|" in command else command.split()
        (folder / "cmdline").write_text("\0".join(parts) + "\0")
    (proc / "net").mkdir()
    return search(ProcessTable(proc), {"GPU-0": (99 + len(commands),)})


def the_engine(proc: Path, *commands: str) -> DiscoveredEngine:
    (engine,) = found(proc, *commands).engines
    return engine


@pytest.mark.parametrize(("engine", "above", "commands"), [(one[0], one[1], one[2:]) for one in LAUNCHES])
def test_launch(tmp_path: Path, engine: str, above: int, commands: tuple[str, ...]) -> None:
    """Its engine is recognised, and its launch is the root, whatever started it."""
    one = the_engine(tmp_path / "proc", *commands)

    assert (engine, 100 + above) == (one.kind.name, one.process.pid)


def test_every_row() -> None:
    """Every row with a launch has at least one above."""
    assert {kind.name for kind in ENGINES if kind.launch} == {one[0] for one in LAUNCHES}


@pytest.mark.parametrize(
    "command",
    [
        f"{PY} train.py --engine vllm serve",
        f"{PY} /usr/bin/vllm bench serve",
        f"{PY} -m vllm_serve_tools",
        "/usr/bin/llama server-less",
        "ray::RayTrainWorker",
        "/usr/bin/ollama pull m",
        "grep vllm serve",
        "bash|-c|echo exec vllm serve m",
    ],
)
def test_no_launch(tmp_path: Path, command: str) -> None:
    """What only mentions an engine is none."""
    assert () == found(tmp_path / "proc", command).engines


@pytest.mark.parametrize("command", ["/usr/bin/ollama runner --model m --port 1", "/usr/bin/mistralrs serve"])
def test_no_page(tmp_path: Path, command: str) -> None:
    """An engine without a page is known, and why it has no tokens is said, with a way to count them."""
    one = the_engine(tmp_path / "proc", command)

    assert ((), False) == (one.candidates, one.is_starting)
    assert "it has no page with tokens" in one.absence


def test_title_hides_degrees(tmp_path: Path) -> None:
    """A server that has only a title does not say how many GPUs it requested: it lacks none."""
    router = f"{PY} -m sglang_router.launch_server --dp-size 2 --tp-size 4"

    assert the_engine(tmp_path / "proc", router, "sglang::server", "sglang::scheduler").gpus_requested is None
