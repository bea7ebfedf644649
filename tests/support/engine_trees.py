"""
The process trees of real engines, as captured: titles, command lines, and who holds which socket.

The socket of an engine's page is called "api"; all others are its workers' own.
"""

from support.engine_pages import ENGINE_PAGES
from support.process_trees import NOTHING, Actor, Socket

PYTHON = "/usr/bin/python"
VLLM_PAGE = str(ENGINE_PAGES / "vllm-0.32.0-4-after.prom")
TRACKER = Actor("tracker", f"{PYTHON} -B -c from_multiprocessing.resource_tracker_import_main;main(32)")


def api(page: str = VLLM_PAGE, **where: str) -> Socket:
    return Socket("api", page, **where)


def gloo(owner: str, number: int = 3) -> list[Socket]:
    """The random listeners on loopback that a worker holds for its peers."""
    return [Socket(f"{owner}-gloo-{index}") for index in range(number)]


def vllm(page: str = VLLM_PAGE, options: str = "--port {port:api}", **where: str) -> Actor:
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


def torchrun() -> Actor:
    """A training job: a byte to its rendezvous may break it."""
    ranks = [
        Actor(f"rank-{index}", f"{PYTHON} -u train.py --port 8000", gloo(f"rank-{index}")) for index in (0, 1)
    ]
    command = f"{PYTHON} /usr/bin/torchrun --nproc-per-node 2 --rdzv-endpoint localhost:29400 train.py"
    return Actor("root", command, [Socket("rendezvous", VLLM_PAGE)], children=ranks)
