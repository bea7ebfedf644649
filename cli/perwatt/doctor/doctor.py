"""`perwatt doctor`: what this machine can measure, what is missing, and the smallest fix."""

from collections.abc import Iterable, Iterator, Sequence

from perwatt.doctor.endpoints import check_endpoint, check_token
from perwatt.doctor.engines import check_discovery_access, check_engines, check_visibility
from perwatt.doctor.finding import Finding
from perwatt.doctor.gpus import Gpus, check_claims, check_gpus, check_memory
from perwatt.doctor.host import check_address, check_folder, check_host, check_python
from perwatt.doctor.meters import check_meters
from perwatt.run.discovery import configured, engine_kinds
from perwatt_agent.config import AgentConfig
from perwatt_agent.configfile.printable import escaped, without_secrets
from perwatt_agent.gpu.backend import Backend
from perwatt_agent.meters.meter import Meter
from perwatt_agent.state.gpu_memory import GpuMemory

NAME_ONE = (
    "configure one: --engine url=http://127.0.0.1:8000/metrics,workload=NAME, "
    "or `engines.endpoints` in the file"
)


def examine(config: AgentConfig, nvml: Backend, meters: Sequence[Meter]) -> Iterator[Finding]:
    """Every finding, as it is made. A failed check never stops the next one."""
    yield from check_python()
    yield check_host()
    gpus = check_gpus(nvml)
    yield from gpus.findings
    memory = GpuMemory(config.data_dir)
    yield from check_memory(memory.load(), gpus, memory.file)
    yield from check_meters(meters, has_model=config.meters.model is not None)
    yield check_folder("state_dir", config.state_dir)
    yield check_folder("data_dir", config.data_dir)
    yield check_address(config.web.listen_address)
    for endpoint in config.engines.endpoints:
        yield check_endpoint(endpoint)
        yield from check_token(endpoint)
    yield from check_claims(config, gpus)
    yield from _check_discovered(config, gpus)


def _check_discovered(config: AgentConfig, gpus: Gpus) -> Iterator[Finding]:
    """Engines that discovery finds, and a hint where there is no engine at all."""
    found: list[Finding] = []
    is_blind = False
    if config.engines.discover:
        yield check_discovery_access()
        found += check_visibility(gpus.known, gpus.processes, gpus.unlisted)
        is_blind = bool(found)
        found += check_engines(
            gpus.known,
            gpus.processes,
            configured(config),
            kinds=engine_kinds(config),
        )
    yield from found
    if not config.engines.endpoints and all(finding.status != "ok" for finding in found):
        none = "none can be found" if is_blind else "none was found"
        detail = f"no engine is configured and {none}: energy is measured, tokens are not"
        yield Finding("hint", "engines", detail, NAME_ONE)


def report(findings: Iterable[Finding]) -> int:
    """Print each finding; 0 when the agent could start here or runs here, else 1."""
    blocked = runs = False
    for finding in findings:
        print(f"{finding.status:<8} {_shown(finding.subject):<10} {_shown(finding.detail)}")
        if finding.fix:
            print(f"{'':<19} fix: {_shown(finding.fix)}")
        blocked, runs = blocked or finding.blocks, runs or finding.runs
    verdict = "runs here" if runs else "can start here"
    print("perwatt agent cannot start here" if blocked else f"perwatt agent {verdict}")
    return 1 if blocked else 0


def _shown(text: str) -> str:
    """Text of engines, processes and devices, as it may be printed."""
    return escaped(without_secrets(text))
