"""
How engines look in a process table: one row each. Only what matches a row is ever asked for a page.

To add an engine, add a row here, a row in `perwatt_agent.engine.kinds`, which has the paths of its page,
and a process tree to the tests.
"""

import re
from collections.abc import Sequence

from msgspec import Struct

from perwatt_agent.discovery.commandline import number
from perwatt_agent.engine.kinds.own import OwnKind
from perwatt_agent.facts.workload import Role

_TENSOR = ("--tensor-parallel-size", "--tp-size", "--tp", "-tp")
_PIPELINE = ("--pipeline-parallel-size", "--pp-size", "--pp", "-pp")
_DATA = ("--data-parallel-size", "--dp-size", "--dp", "-dp")

# A launch that says which half of the work it does; whatever else there is does both.
_ROLES: tuple[tuple[re.Pattern[str], Role], ...] = (
    (re.compile(r"--disaggregation[-_]mode[ =]prefill\b|--is-prefill-worker\b"), "prefill"),
    (re.compile(r"--disaggregation[-_]mode[ =]decode\b|--is-decode-worker\b"), "decode"),
    (re.compile(r"\bkv_role\W+kv_producer\b"), "prefill"),
    (re.compile(r"\bkv_role\W+kv_consumer\b"), "decode"),
)


class Signature(Struct, frozen=True, kw_only=True):
    """
    One engine. `serves` matches the programs that may serve its page, `serves_at_port` further ones that
    are asked only at the port that the launch names.

    The launch names a port by `port_options` or, failing that, by `port_variable` of its environment.
    Without a `default_port`, one that names none has no page.

    `degrees` are the launch options whose product is the number of GPUs asked for, of which the last is
    inside the first where `flat_with` is given. `each_alone` tells that a process under another of the
    same engine is an engine of its own, not its worker. `through` is for a launch that others use too:
    only what computes under, or as, a program that it matches belongs to the engine.
    """

    engine: str
    serves: re.Pattern[str]
    default_port: int | None = None
    serves_at_port: re.Pattern[str] | None = None
    port_options: tuple[str, ...] = ("--port",)
    port_variable: str = ""
    degrees: tuple[tuple[str, ...], ...] = ()
    flat_with: str = ""
    each_alone: bool = False
    through: re.Pattern[str] | None = None

    def launch_port(self, command: Sequence[str], variable: str = "") -> int | None:
        """The port that a command line, else the *variable*, names; None where both leave it open."""
        port = number(command, self.port_options)
        if port is None and variable.isdecimal():
            port = int(variable)
        return port if port is not None and 0 < port < 65536 else None

    def gpus_asked_for(self, command: Sequence[str]) -> int | None:
        """How many GPUs a launch asks for, on all its nodes; None where its command line does not tell."""
        if not self.degrees or "--config" in command:
            return None
        is_flat = bool(self.flat_with) and self.flat_with in command
        degrees = self.degrees[:-1] if is_flat else self.degrees
        gpus = 1
        for options in degrees:
            gpus *= number(command, options) or 1
        return gpus

    def leads_to(self, programs: Sequence[str]) -> bool:
        """Whether *programs*, from a process on a GPU up to this launch, are this engine's."""
        return self.through is None or any(self.through.match(program) for program in programs)


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
        port_variable="LLAMA_ARG_PORT",
        each_alone=True,
    ),
    Signature(
        engine="tgi",
        serves=re.compile(r"text-generation-(launcher|router)\b"),
        default_port=3000,
        port_options=("--port", "-p"),
        port_variable="PORT",
        degrees=(("--num-shard",),),
    ),
    Signature(
        engine="trtllm",
        serves=re.compile(r"trtllm-serve\b"),
        default_port=8000,
        degrees=(_TENSOR, _PIPELINE),
    ),
    Signature(
        engine="triton",
        serves=re.compile(r"tritonserver\b"),
        default_port=8002,
        port_options=("--metrics-port",),
    ),
    Signature(
        engine="lmdeploy",
        serves=re.compile(r"lmdeploy serve api_server\b|lmdeploy\.serve\.openai\.api_server\b"),
        default_port=23333,
        port_options=("--server-port",),
        degrees=(_TENSOR, _DATA),
    ),
    Signature(
        engine="mlc",
        serves=re.compile(r"mlc_llm serve\b"),
        default_port=8000,
    ),
    Signature(
        engine="tei",
        serves=re.compile(r"text-embeddings-router\b"),
        default_port=3000,
        port_options=("--port", "-p"),
        port_variable="PORT",
    ),
    Signature(
        engine="nim",
        # Release 2 launches vLLM, which then serves.
        serves=re.compile(
            r"(nim_llm_sdk|vllm_nvext)\.entrypoints\.\S*(launch|api_server)\b|nim-serve\b"
            r"|vllm serve\b|vllm\.entrypoints\.\S*api_server\b"
        ),
        default_port=8000,
        port_variable="NIM_SERVER_PORT",
    ),
    Signature(
        engine="kserve",
        serves=re.compile(r"huggingfaceserver\b"),
        default_port=8080,
        port_options=("--http-port",),
    ),
    # A worker; the frontend is on no GPU. Its page is switched off unless its environment names a port.
    Signature(
        engine="dynamo",
        serves=re.compile(r"dynamo\.(vllm|sglang|trtllm)\b"),
        port_options=(),
        port_variable="DYN_SYSTEM_PORT",
    ),
    # All of a node's replicas and executors are Ray's children, and its agent serves the page of all.
    Signature(
        engine="ray",
        serves=re.compile(r"raylet --|ray::DashboardAgent\b|agent\.py .*--metrics-export-port"),
        port_options=("--metrics-export-port",),
        through=re.compile(r"ray::(ServeReplica|RayWorkerWrapper)\b"),
    ),
)


def own_signature(kind: OwnKind) -> Signature | None:
    """How an engine of the operator's own looks; None where nothing is said of its process."""
    if kind.process is None:
        return None
    return Signature(engine=kind.name, serves=re.compile(kind.process), default_port=kind.port)


def signature_of(program: str, signatures: Sequence[Signature] = SIGNATURES) -> Signature | None:
    """The engine that a program serves; None where it is of none."""
    return next((signature for signature in signatures if signature.serves.match(program)), None)


def role_of(command: Sequence[str]) -> Role:
    """Which part of the work a launch is for."""
    text = " ".join(command)
    return next((role for pattern, role in _ROLES if pattern.search(text)), "mixed")
