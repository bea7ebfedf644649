"""
The process trees of real engines, as captured: gpu_claims, command lines, and who holds which socket.

The socket of an engine's page is called "api"; all others are its workers' own.
"""

from collections.abc import Mapping
from typing import Any

from support.engines.engine_pages import ENGINE_PAGES
from support.processes.process_trees import NOTHING, Actor, Socket

PYTHON = "/usr/bin/python"
VLLM_PAGE = str(ENGINE_PAGES / "vllm-0.32.0-4-after.prom")
RANK_PAGES = (
    str(ENGINE_PAGES / "vllm-0.32.0-dp-multiport-rank0-1-idle.prom"),
    str(ENGINE_PAGES / "vllm-0.32.0-dp-multiport-rank1-1-idle.prom"),
)
TRACKER = Actor("tracker", f"{PYTHON} -B -c from_multiprocessing.resource_tracker_import_main;main(32)")


def api(page: str = VLLM_PAGE, **where: Any) -> Socket:
    return Socket("api", page, **where)


def gloo(owner: str, number: int = 3) -> list[Socket]:
    """The random listeners on loopback that a worker holds for its peers."""
    return [Socket(f"{owner}-gloo-{index}") for index in range(number)]


def vllm(page: str = VLLM_PAGE, options: str = "--port {port:api}", **where: Any) -> Actor:
    """One API server, one GPU; the page is the root's."""
    worker = Actor("worker", "VLLM::Worker", gloo("worker"))
    core = Actor("core", "VLLM::EngineCore", children=[worker])
    return Actor(
        "root",
        f"{PYTHON} /usr/bin/vllm serve /models/tiny-llama --host 127.0.0.1 {options}",
        [api(page, **where)],
        children=[TRACKER, core],
        comm="vllm",
    )


def vllm_tp2(options: str = "--tensor-parallel-size 2") -> Actor:
    workers = [Actor(f"worker-{rank}", f"VLLM::Worker_TP{rank}", gloo(f"worker-{rank}")) for rank in (0, 1)]
    core = Actor("core", "VLLM::EngineCore", children=workers)
    command = f"{PYTHON} /usr/bin/vllm serve /models/tiny-llama --port {{port:api}} {options}"
    return Actor("root", command, [api()], children=[TRACKER, core], comm="vllm")


def vllm_two_servers() -> Actor:
    """--api-server-count 2: the root and both servers hold the same socket."""
    core = Actor("core", "VLLM::EngineCore", children=[Actor("worker", "VLLM::Worker", gloo("worker"))])
    servers = [Actor(f"server-{index}", f"VLLM::APIServer_{index}", holds=["api"]) for index in (0, 1)]
    command = f"{PYTHON} /usr/bin/vllm serve /models/tiny-llama --api-server-count=2 --port={{port:api}}"
    return Actor("root", command, [api()], children=[core, *servers], comm="vllm")


def vllm_multi_port(options: str = "", *, titles: bool = True, pages: tuple[str, str] = RANK_PAGES) -> Actor:
    """
    --data-parallel-multi-port-external-lb with two ranks: each has a server, a port and a page of its own.

    Without *titles*, what the launch started has the names of plain Python processes, and the first page is
    the root's.
    """
    spawned = f"{PYTHON} -c from_multiprocessing.spawn_import_spawn_main;main(7)"
    ranks = []
    for rank, page in enumerate(pages):
        worker = Actor(f"worker-{rank}", f"VLLM::Worker_DP{rank}", gloo(f"worker-{rank}"))
        core = Actor(f"core-{rank}", f"VLLM::EngineCore_DP{rank}", gloo(f"core-{rank}"), children=[worker])
        server = f"VLLM::APIServer_DP{rank}" if titles else spawned
        sockets = [Socket(f"page-{rank}", page)] if titles or rank else []
        ranks.append(Actor(f"server-{rank}", server, sockets, children=[core]))
    command = (
        f"{PYTHON} /usr/bin/vllm serve m --port {{port:page-0}} --data-parallel-size 2 "
        f"--data-parallel-size-local 2 --data-parallel-multi-port-external-lb {options}"
    )
    sockets = [] if titles else [Socket("page-0", pages[0])]
    return Actor("root", command, sockets, children=[TRACKER, *ranks], comm="vllm")


def vllm_forked() -> Actor:
    """0.9: no titles. What it forked has its command line, and even its socket."""
    command = f"{PYTHON} /usr/bin/vllm serve /models/tiny-llama --port {{port:api}} -tp 2"
    workers = [Actor(f"worker-{rank}", command, gloo(f"worker-{rank}"), holds=["api"]) for rank in (0, 1)]
    return Actor("root", command, [api()], children=workers)


def sglang_dp2() -> Actor:
    schedulers = [
        Actor(f"scheduler-{rank}", f"sglang::scheduler_DP{rank}", gloo(f"scheduler-{rank}"))
        for rank in (0, 1)
    ]
    controller = Actor("controller", "sglang::data_parallel_controller", children=schedulers)
    command = (
        f"{PYTHON} -m sglang.launch_server --model-path m --dp-size 2 --port {{port:api}} --enable-metrics"
    )
    detokenizer = Actor("detokenizer", "sglang::detokenizer")
    return Actor("root", command, [api()], children=[controller, detokenizer])


def sglang_rust() -> Actor:
    """The page is the scheduler's, beside the listeners that it has for its peers."""
    scheduler = Actor("scheduler", "sglang::scheduler", [api(), *gloo("scheduler")])
    command = f"{PYTHON} -m sglang.launch_server --model-path m --port {{port:api}} --enable-metrics"
    return Actor("root", command, children=[scheduler])


def tgi() -> Actor:
    """The router, which serves, is a sibling of the process on the GPU."""
    shard = Actor(
        "shard",
        f"{PYTHON} /usr/bin/text-generation-server serve m --uds-path /tmp/text-generation-server",
        gloo("shard"),
    )
    router = Actor("router", "text-generation-router --port {port:api} --tokenizer-name m", [api()])
    return Actor("root", "text-generation-launcher --model-id m --num-shard 1", children=[shard, router])


def llama_router() -> Actor:
    """A router and two models that it loaded, each a server of its own."""
    models = [
        Actor(f"model-{index}", f"llama-server --port {{port:model-{index}}} --alias m{index} --metrics",
              [Socket(f"model-{index}", VLLM_PAGE)])
        for index in (0, 1)
    ]  # fmt: skip
    command = "/opt/llama/llama-server --models-dir /models --port {port:router} --metrics"
    return Actor("root", command, [Socket("router", NOTHING)], children=models)


def trtllm() -> Actor:
    rank = Actor("rank", f"{PYTHON} -m mpi4py.futures.server", gloo("rank"))
    command = f"{PYTHON} /usr/local/bin/trtllm-serve serve m --port {{port:api}} --tp_size 1"
    page = api(path="/prometheus/metrics")
    return Actor("root", command, [page], children=[Actor("prte", "prte --daemon", children=[rank])])


def triton() -> Actor:
    """Its page has a port of its own; the stub computes."""
    stub = Actor("stub", "/opt/triton/triton_python_backend_stub model.py", gloo("stub"))
    http = Socket("http", NOTHING)
    command = "/opt/triton/bin/tritonserver --http-port {port:http} --metrics-port={port:api}"
    return Actor("root", command, [api(), http], children=[stub])


def dynamo_worker(environment: Mapping[str, str] = {"DYN_SYSTEM_PORT": "{port:api}"}) -> Actor:
    """Its page has a port that its environment names; beside it are sockets for its peers."""
    core = Actor("core", "VLLM::EngineCore", gloo("core"))
    command = f"{PYTHON} -m dynamo.vllm --model m --is-prefill-worker"
    return Actor("root", command, [api(), *gloo("root")], children=[core], environment=environment)


def nim() -> Actor:
    """Release 1 in a container on the host's network: its server is that of its launch."""
    core = Actor("core", f"{PYTHON} -c from_multiprocessing.spawn_import_spawn_main;main(7)", gloo("core"))
    command = "/opt/nim/llm/.venv/bin/python3 -m nim_llm_sdk.entrypoints.launch"
    environment = {"NIM_SERVER_PORT": "{port:api}"}
    page = api(path="/v1/metrics")
    return Actor("root", command, [page], children=[core], environment=environment)


def nim_2() -> Actor:
    """Release 2 launches vLLM, which serves."""
    core = Actor("core", "VLLM::EngineCore", gloo("core"))
    server = Actor("server", f"{PYTHON} /usr/bin/vllm serve m --port {{port:api}}", [api()], children=[core])
    return Actor("root", f"{PYTHON} /opt/nim/bin/nim-serve", children=[server])


def kserve() -> Actor:
    core = Actor("core", "VLLM::EngineCore", gloo("core"))
    command = f"{PYTHON} -m huggingfaceserver --model_name=m --http_port={{port:api}}"
    return Actor("root", command, [api()], children=[core])


def ray() -> Actor:
    """A node: its agent serves the page of all that Ray runs there, a training job among it."""
    options = "--node_manager_port=0 --metrics_export_port={port:api}"
    replica = Actor("replica", "ray::ServeReplica:default:LLMServer", [Socket("replica-grpc")],
                    children=[Actor("core", "VLLM::EngineCore", gloo("core"))])  # fmt: skip
    trainer = Actor("trainer", "ray::RayTrainWorker", gloo("trainer"))
    agent = Actor("agent", "ray::DashboardAgent", [api(), Socket("agent-http")])
    command = f"/usr/lib/ray/core/src/ray/raylet/raylet --raylet_socket_name=/tmp/ray/raylet {options}"
    return Actor("root", command, [Socket("manager")], children=[agent, replica, trainer])


def own(page: str = NOTHING) -> Actor:
    """An engine that nobody but its operator knows."""
    worker = Actor("worker", "my-worker", gloo("worker"))
    command = "/opt/my/my-server serve m --port {port:api}"
    return Actor("root", command, [api(page, path="/stats")], children=[worker])


def torchrun() -> Actor:
    """A training job: a byte to its rendezvous may break it."""
    ranks = [
        Actor(f"rank-{index}", f"{PYTHON} -u train.py --port 8000", gloo(f"rank-{index}")) for index in (0, 1)
    ]
    command = f"{PYTHON} /usr/bin/torchrun --nproc-per-node 2 --rdzv-endpoint localhost:29400 train.py"
    return Actor("root", command, [Socket("rendezvous", VLLM_PAGE)], children=ranks)
