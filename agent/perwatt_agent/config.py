"""Configuration of the agent. The annotations are the reference: keys, kinds, defaults, help."""

import math
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Literal

from msgspec import Struct, field

from perwatt_agent.configfile.loading import Flags, IsValid, load
from perwatt_agent.configfile.settings import Key
from perwatt_agent.configfile.value_kinds import (
    ADDRESS,
    BOOLEAN,
    PATH,
    READABLE_FILE,
    TEXT,
    URL,
    Kind,
    duration,
    number,
    one_of,
)
from perwatt_agent.engine.catalog import engine_names
from perwatt_agent.engine.custom_kind import ENGINE_NAME, CustomKind
from perwatt_agent.facts.gpm import GpmMode
from perwatt_agent.facts.gpu_reading import Detail
from perwatt_agent.facts.workload import Role
from perwatt_agent.meters.config import CREDENTIALS_FILE, MetersConfig
from perwatt_agent.net.page_identity import page_identity

REPLAY_PREFIX = "replay:"

GpuClaim = Literal["all"] | tuple[int | str, ...]
"""The GPUs of an endpoint: all of the machine, or those with these indices and UUIDs."""


def _read_backend(text: str) -> str:
    if text.startswith(REPLAY_PREFIX):
        try:
            READABLE_FILE.read(text[len(REPLAY_PREFIX) :])
        except ValueError as error:
            raise ValueError(f"after replay: {error}") from None
    elif text not in ("nvml", "simulated"):
        raise ValueError("nvml, simulated or replay:FILE")
    return text


def _read_speed(text: str) -> float:
    if text == "max":
        return math.inf
    try:
        return float(number(0.001, 1e6).read(text))
    except ValueError:
        raise ValueError("1, max or another number from 0.001 to 1e6") from None


def _read_gpus(text: str) -> GpuClaim:
    if text == "all":
        return "all"
    claims: list[int | str] = []
    for part in text.split("+") if text else ():
        if not re.fullmatch(r"\d{1,4}|(GPU|MIG|SIM)-\S+", part):
            raise ValueError("all, or a list of GPU indices or UUIDs")
        claims.append(int(part) if part.isdigit() else part)
    return tuple(claims)


def _show_gpus(gpus: GpuClaim) -> str:
    return gpus if isinstance(gpus, str) else "+".join(map(str, gpus))


def _read_count(text: str) -> int:
    if not re.fullmatch(r"[1-9]\d{0,4}", text):
        raise ValueError("a whole number from 1 to 99999")
    return int(text)


def _read_few(text: str) -> int:
    if not re.fullmatch(r"\d{1,3}", text):
        raise ValueError("a whole number from 0 to 999")
    return int(text)


BACKEND = Kind(_read_backend)
COUNT = Kind(_read_count)
SPEED = Kind(_read_speed, lambda speed: "max" if math.isinf(speed) else f"{speed:g}")
GPUS = Kind(_read_gpus, _show_gpus, joined="+")
ROLE = one_of("mixed", "prefill", "decode", "router", "trainer")
DETAIL = one_of("full", "core")
GPM = one_of("auto", "on", "off")
FEW = Kind(_read_few)


class AgentWebConfig(Struct, frozen=True):
    """The agent's HTTP server."""

    listen_address: Annotated[str, Key("address that serves `/metrics`", ADDRESS)] = "0.0.0.0:9836"


class EndpointConfig(Struct, frozen=True):
    """One engine that counts tokens, and the GPUs it holds. A follower has a group and no URL."""

    url: Annotated[str | None, Key("metrics page of the engine; absent only for a follower", URL)] = None
    engine: Annotated[str, Key("which engine it is; `auto` recognises it by its page", ENGINE_NAME)] = "auto"
    workload: Annotated[str | None, Key("name of the workload in every figure", TEXT)] = None
    model: Annotated[str | None, Key("name of the model, for an engine whose page has none", TEXT)] = None
    gpus: Annotated[GpuClaim, Key("GPUs it holds: `all`, or a list of indices or UUIDs", GPUS)] = "all"
    shared: Annotated[bool, Key("whether other endpoints may claim the same GPUs", BOOLEAN)] = False
    group: Annotated[str | None, Key("multi-node engine of which this is a member", TEXT)] = None
    role: Annotated[Role, Key("role: mixed, prefill, decode, router or trainer", ROLE)] = "mixed"
    bearer_token_file: Annotated[Path | None, Key("file with the page's bearer token", READABLE_FILE)] = None
    credentials_file: Annotated[
        Path | None,
        Key("file with `username:` and `password:`, or one line `USER:PASSWORD`", CREDENTIALS_FILE),
    ] = None
    ca_file: Annotated[
        Path | None, Key("file with the CA of its certificate; default: the system's", READABLE_FILE)
    ] = None


class EnginesConfig(Struct, frozen=True):
    """Engines: the sources of token counts."""

    discover: Annotated[bool, Key("whether to find engines by their processes on the GPUs", BOOLEAN)] = True
    interval: Annotated[float, Key("how often to read each engine's page", duration(1.0, 3600.0))] = 5.0
    endpoints: Annotated[tuple[EndpointConfig, ...], Key("engines of this machine", flag="engine")] = ()
    kinds: Annotated[tuple[CustomKind, ...], Key("engines that perwatt does not know (file only)")] = ()


class IdentityConfig(Struct, frozen=True):
    """Sources of identity: the job or pod that a GPU was given to."""

    hpc_job_mapping_dir: Annotated[
        Path | None, Key("folder in which Slurm's prolog writes the jobs of each GPU", PATH)
    ] = None
    pod_resources_socket: Annotated[
        Path | None,
        Key("socket of the kubelet, usually `/var/lib/kubelet/pod-resources/kubelet.sock`", PATH),
    ] = None
    kubelet_url: Annotated[
        str | None,
        Key("address of the kubelet, such as `https://NODE:10250`, to find engines in pods", URL),
    ] = None
    kubelet_ca_file: Annotated[
        Path | None, Key("file with the CA of the kubelet's certificate", READABLE_FILE)
    ] = None
    kubelet_token_file: Annotated[Path | None, Key("file with the bearer token for the kubelet", PATH)] = None


class GpuConfig(Struct, frozen=True):
    """Which GPUs are read, and how much of each."""

    exclude: Annotated[
        tuple[str, ...],
        Key("GPUs to leave out, such as a display card: UUIDs, indices or names", TEXT, "gpu-exclude"),
    ] = ()

    detail: Annotated[
        Detail,
        Key("`full`, or `core`: only energy, power, load, memory, temperature, clocks and limits", DETAIL),
    ] = "full"
    gpm: Annotated[
        GpmMode,
        Key("performance monitor (GPM): `on`, `off`, or `auto`, which is off while DCGM runs", GPM),
    ] = "auto"
    processes: Annotated[int, Key("how many processes of each GPU to show as series of their own", FEW)] = 0


class AttributionConfig(Struct, frozen=True):
    """How the joules of a GPU are divided among those that share it."""

    idle_watts: Annotated[
        dict[str, float],
        Key(
            "power of an idle GPU, by the GPU's name; by default measured while it is free",
            number(1.0, 2000.0),
            "idle-watts",
        ),
    ] = field(default_factory=dict)


class WorkConfig(Struct, frozen=True):
    """Work that jobs report themselves."""

    textfile_dir: Annotated[
        Path | None, Key("folder with `*.prom` files in which jobs write `perwatt_work_total`", PATH)
    ] = None
    max_jobs: Annotated[int, Key("maximum number of jobs", COUNT)] = 1000
    post: Annotated[bool, Key("whether jobs may report over HTTP (`POST /v1/work`)", BOOLEAN)] = True
    trusted_jobs: Annotated[
        tuple[str, ...],
        Key("jobs that may claim any GPU, by name or pattern such as `train-*`", TEXT, "work-trusted-job"),
    ] = ()


class ReplayConfig(Struct, frozen=True):
    """Playback of a recording; an infinite `speed` plays it as fast as possible."""

    speed: Annotated[float, Key("speed of a replay: `1`, `max`, or how many times faster", SPEED)] = 1.0


class AgentConfig(Struct, frozen=True):
    """Settings of the agent. Times are in seconds."""

    backend: Annotated[str, Key("source of GPU readings: `nvml`, `simulated` or `replay:FILE`", BACKEND)] = (
        "nvml"
    )
    sample_interval: Annotated[float, Key("how often to read the GPUs", duration(0.1, 60.0))] = 1.0
    state_dir: Annotated[Path, Key("folder for what must survive a restart of the agent", PATH)] = Path(
        "/run/perwatt"
    )
    data_dir: Annotated[
        Path, Key("folder for what must survive a reboot: the GPUs of this machine", PATH)
    ] = Path("/var/lib/perwatt")
    web: AgentWebConfig = field(default_factory=AgentWebConfig)
    engines: EnginesConfig = field(default_factory=EnginesConfig)
    meters: MetersConfig = field(default_factory=MetersConfig)
    identity: IdentityConfig = field(default_factory=IdentityConfig)
    work: WorkConfig = field(default_factory=WorkConfig)
    gpu: GpuConfig = field(default_factory=GpuConfig)
    calibration: Annotated[
        dict[str, float],
        Key("true joules per counted joule, by the GPU's UUID", number(0.5, 1.5), "calibration"),
    ] = field(default_factory=dict)
    attribution: AttributionConfig = field(default_factory=AttributionConfig)
    replay: ReplayConfig = field(default_factory=ReplayConfig)

    @property
    def replay_file(self) -> Path | None:
        """The recording to play, if the backend is a replay."""
        if not self.backend.startswith(REPLAY_PREFIX):
            return None
        return Path(self.backend[len(REPLAY_PREFIX) :])


def load_agent_config(path: Path | None, environ: Mapping[str, str], flags: Flags) -> AgentConfig:
    """
    Read the agent's configuration: flags over environment over file over defaults.

    Raises ConfigError naming every error.
    """
    return load(AgentConfig, path, environ, flags, check_agent)


def check_agent(config: AgentConfig, is_valid: IsValid) -> Iterator[tuple[str, str]]:
    """Errors between keys; an endpoint with an error of its own is left out."""
    # Imported here: the rows of the meters load asyncio, which `perwatt --help` does not need.
    from perwatt_agent.meters.checks import check_meters

    for uuid in config.calibration:
        if not uuid.startswith(("GPU-", "SIM-")):
            yield (
                f"calibration.{uuid}",
                "expected a GPU's UUID as key, such as GPU-8f6d...",
            )
    yield from check_meters(config.meters, is_valid)
    if config.identity.kubelet_url and config.identity.pod_resources_socket is None:
        yield (
            "identity.kubelet_url",
            "expected identity.pod_resources_socket too, which names the pod of each GPU",
        )
    yield from _check_kinds(config.engines, is_valid)
    endpoints = {
        path: endpoint
        for index, endpoint in enumerate(config.engines.endpoints)
        if is_valid(path := f"engines.endpoints[{index}]")
    }
    for path, endpoint in endpoints.items():
        if endpoint.url is None and endpoint.group is None:
            yield f"{path}.url", "expected a URL; only an endpoint with a `group` may have none"
        yield from _check_access(path, endpoint)
        earlier = {other: endpoints[other] for other in list(endpoints)[: list(endpoints).index(path)]}
        yield from _check_against_earlier(path, endpoint, earlier)


def _check_kinds(engines: EnginesConfig, is_valid: IsValid) -> Iterator[tuple[str, str]]:
    """Each configured kind has a name of its own, and every endpoint's engine is known."""
    names = ["auto", *engine_names()]
    for index, kind in enumerate(engines.kinds):
        path = f"engines.kinds[{index}]"
        if kind.name in names:
            yield f"{path}.name", f"expected an unused name; {kind.name!r} is taken"
        if not kind.recognised_by and is_valid(f"{path}.recognised_by"):
            yield f"{path}.recognised_by", "expected at least one metric that only this engine has"
        names.append(kind.name)
    for index, endpoint in enumerate(engines.endpoints):
        if endpoint.engine not in names:
            path = f"engines.endpoints[{index}].engine"
            yield path, f"expected one of {', '.join(names)}, not {endpoint.engine!r}"


def _check_access(path: str, endpoint: EndpointConfig) -> Iterator[tuple[str, str]]:
    """Certificates need TLS, and a request has one identity only."""
    if endpoint.ca_file and not (endpoint.url or "").startswith("https://"):
        yield f"{path}.ca_file", "expected nothing: the URL is not an https:// URL"
    if endpoint.credentials_file and endpoint.bearer_token_file:
        yield f"{path}.bearer_token_file", "expected nothing beside credentials_file"


def _check_against_earlier(
    path: str, endpoint: EndpointConfig, earlier: Mapping[str, EndpointConfig]
) -> Iterator[tuple[str, str]]:
    for other_path, other in earlier.items():
        if is_one_page(endpoint, other) and not _are_different_models(endpoint, other):
            yield (
                f"{path}.url",
                f"expected another page, or a different `model` on both: {other_path} reads this one too, "
                "and its tokens would count twice",
            )
        if endpoint.workload is not None and endpoint.workload == other.workload:
            yield f"{path}.workload", f"expected an unused name; {other_path} is {other.workload!r} too"
        claimed = _claimed_by_both(endpoint.gpus, other.gpus)
        if claimed and not (endpoint.shared and other.shared):
            yield (
                f"{path}.gpus",
                f"expected other GPUs, or `shared: true` on both: {other_path} claims {claimed} too",
            )


def is_one_page(one: EndpointConfig, other: EndpointConfig) -> bool:
    """Whether two endpoints read the same page, however its URL is spelt."""
    return (
        one.url is not None and other.url is not None and page_identity(one.url) == page_identity(other.url)
    )


def _are_different_models(one: EndpointConfig, other: EndpointConfig) -> bool:
    return one.model is not None and other.model is not None and one.model != other.model


def _claimed_by_both(one: GpuClaim, other: GpuClaim) -> str:
    """
    The overlap of two claims, in words; empty when none is known.

    Whether an index and a UUID are the same GPU is known only once the driver has listed its GPUs.
    """
    if one == () or other == ():
        return ""
    if isinstance(one, str):
        return "all GPUs" if isinstance(other, str) else f"GPU {other[0]}"
    common = one if isinstance(other, str) else [gpu for gpu in one if gpu in other]
    return f"GPU {common[0]}" if common else ""
