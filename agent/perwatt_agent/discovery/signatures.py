"""
How engines look in a process table: one row each. Only what matches a row is ever asked for a page.

To add an engine, add a row here, a row in `perwatt_agent.engine.kinds` and a process tree to the tests.
"""

import re
from collections.abc import Sequence

from msgspec import Struct

PATHS = ("/metrics", "/prometheus/metrics", "/v1/metrics")
_PYTHON = re.compile(r"python[\d.]*")
_PYTHON_OPTIONS_WITH_VALUE = ("-X", "-W", "--check-hash-based-pycs")
_TENSOR = ("--tensor-parallel-size", "--tp-size", "--tp", "-tp")
_PIPELINE = ("--pipeline-parallel-size", "--pp-size", "--pp", "-pp")
_DATA = ("--data-parallel-size", "--dp-size", "--dp", "-dp")


class Signature(Struct, frozen=True, kw_only=True):
    """
    One engine. `serves` matches the programs that may serve its page, `serves_at_port` further ones that
    are asked only at the port that the launch names.

    `degrees` are the launch options whose product is the number of GPUs asked for, of which the last is
    inside the first where `flat_with` is given. `each_alone` tells that a process under another of the
    same engine is an engine of its own, not its worker.
    """

    engine: str
    serves: re.Pattern[str]
    default_port: int
    serves_at_port: re.Pattern[str] | None = None
    port_options: tuple[str, ...] = ("--port",)
    paths: tuple[str, ...] = PATHS
    degrees: tuple[tuple[str, ...], ...] = ()
    flat_with: str = ""
    each_alone: bool = False

    def launch_port(self, command: Sequence[str]) -> int | None:
        """The port that a command line names; None where it leaves it open."""
        port = _number(command, self.port_options)
        return port if port is not None and 0 < port < 65536 else None

    def gpus_asked_for(self, command: Sequence[str]) -> int | None:
        """How many GPUs a launch asks for, on all its nodes; None where its command line does not tell."""
        if not self.degrees or "--config" in command:
            return None
        is_flat = bool(self.flat_with) and self.flat_with in command
        degrees = self.degrees[:-1] if is_flat else self.degrees
        gpus = 1
        for options in degrees:
            gpus *= _number(command, options) or 1
        return gpus


SIGNATURES = (
    Signature(
        engine="vllm",
        serves=re.compile(r"vllm serve\b|vllm\.entrypoints\.\S*api_server\b|\S+::APIServer"),
        default_port=8000,
        degrees=(_TENSOR, _PIPELINE, _DATA),
    ),
    Signature(
        engine="sglang",
        serves=re.compile(r"sglang\.launch_server\b|sglang serve\b"),
        # Its server in Rust runs inside the process that computes.
        serves_at_port=re.compile(r"sglang::scheduler"),
        default_port=30000,
        degrees=(_TENSOR, _PIPELINE, _DATA),
        flat_with="--enable-dp-attention",
    ),
    Signature(
        engine="llamacpp",
        serves=re.compile(r"llama-server\b|llama\.cpp/server\b"),
        default_port=8080,
        # Asked without a model, a router answers 400; asked with one it would load it.
        paths=("/metrics",),
        each_alone=True,
    ),
    Signature(
        engine="tgi",
        serves=re.compile(r"text-generation-(launcher|router)\b"),
        default_port=3000,
        port_options=("--port", "-p"),
        paths=("/metrics",),
        degrees=(("--num-shard",),),
    ),
    Signature(
        engine="trtllm",
        serves=re.compile(r"trtllm-serve\b"),
        default_port=8000,
        # Its /metrics is a queue that every reader drains.
        paths=("/prometheus/metrics",),
        degrees=(_TENSOR, _PIPELINE),
    ),
    Signature(
        engine="triton",
        serves=re.compile(r"tritonserver\b"),
        default_port=8002,
        port_options=("--metrics-port",),
        paths=("/metrics",),
    ),
    Signature(
        engine="lmdeploy",
        serves=re.compile(r"lmdeploy serve api_server\b|lmdeploy\.serve\.openai\.api_server\b"),
        default_port=23333,
        port_options=("--server-port",),
        paths=("/metrics",),
        degrees=(_TENSOR, _DATA),
    ),
    Signature(
        engine="mlc",
        serves=re.compile(r"mlc_llm serve\b"),
        default_port=8000,
        paths=("/metrics",),
    ),
    Signature(
        engine="tei",
        serves=re.compile(r"text-embeddings-router\b"),
        default_port=3000,
        port_options=("--port", "-p"),
        paths=("/metrics",),
    ),
)


def program(command: Sequence[str]) -> str:
    """
    What a command line runs, without folders and without the interpreter before it.

    "/usr/bin/python /usr/bin/vllm serve m" and "python -m vllm.entrypoints.openai.api_server" give
    "vllm serve m" and "vllm.entrypoints.openai.api_server".
    """
    rest = list(command)
    if rest and _PYTHON.fullmatch(_name(rest[0])):
        rest = _after_interpreter(rest[1:])
    return " ".join([_name(rest[0]), *rest[1:]]) if rest else ""


def signature_of(program: str) -> Signature | None:
    """The engine that a program serves; None where it is of none."""
    return next((signature for signature in SIGNATURES if signature.serves.match(program)), None)


def _name(path: str) -> str:
    return path.rpartition("/")[2]


def _after_interpreter(options: Sequence[str]) -> list[str]:
    rest = list(options)
    while rest and rest[0].startswith("-"):
        option = rest.pop(0)
        if option == "-m":
            return rest
        if option == "-c":
            return []
        if option in _PYTHON_OPTIONS_WITH_VALUE and rest:
            rest.pop(0)
    return rest


def _number(command: Sequence[str], options: tuple[str, ...]) -> int | None:
    """The value of the last of *options* on a command line, written as `--a-b 1`, `--a_b 1` or `--a-b=1`."""
    found = None
    for place, argument in enumerate(command):
        name, has_value, value = argument.partition("=")
        if name.replace("_", "-") in options:
            value = value if has_value else next(iter(command[place + 1 : place + 2]), "")
            found = int(value) if value.isdecimal() else found
    return found
