"""Checks of the host: Python, libraries, hardware, state folder, listen address."""

import os
import platform
import sys
from collections.abc import Iterator
from http.client import HTTPConnection, HTTPException
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import psutil

from perwatt.doctor.finding import Finding
from perwatt_agent.configfile.value_kinds import host_and_port
from perwatt_exporter.http.listen import ListenError, bind

LIBRARIES = (
    "nvidia-ml-py", "msgspec", "PyYAML", "prometheus-client", "psutil",
    "isal", "uvicorn", "httptools", "uvloop", "fastapi", "aiohttp",
)  # fmt: skip

PAGE_SECONDS = 3.0
MAX_PAGE_BYTES = 4 * 1024 * 1024
AGENT_FAMILY = b"\nperwatt_snapshot_timestamp_seconds "


def check_python() -> Iterator[Finding]:
    """The interpreter and the libraries."""
    running = platform.python_version()
    old = sys.version_info < (3, 10)
    fix = "install Python 3.10 or newer" if old else ""
    yield Finding("missing" if old else "ok", "python", running, fix, blocks=old)
    missing = [name for name in LIBRARIES if not _is_installed(name)]
    if missing:
        yield Finding("missing", "libraries", ", ".join(missing), "pip install perwatt", blocks=True)
    else:
        yield Finding("ok", "libraries", f"all {len(LIBRARIES)} installed")


def _is_installed(name: str) -> bool:
    try:
        return bool(version(name))
    except PackageNotFoundError:
        return False


def check_host() -> Finding:
    """Operating system, cores and memory."""
    cores = psutil.cpu_count(logical=False) or psutil.cpu_count()
    gibibytes = psutil.virtual_memory().total / 2**30
    return Finding(
        "ok", "host", f"{platform.system()} {platform.release()}, {cores} cores, {gibibytes:.3g} GiB"
    )


def check_folder(key: str, path: Path) -> Finding:
    """Whether the agent can write the folder that the configuration key names."""
    existing = next(parent for parent in (path, *path.parents) if parent.exists())
    if existing.is_dir() and os.access(existing, os.W_OK | os.X_OK):
        return Finding("ok", key, f"{path} is writable")
    fix = f"install -d -o {os.geteuid()} {path}, or set --{key.replace('_', '-')} to a writable folder"
    return Finding("missing", key, f"{path} is not writable", fix)


def check_address(address: str) -> Finding:
    """Whether the agent can listen there; if not, which process does."""
    try:
        bind(address).close()
    except ListenError as error:
        if _is_agent(address):
            return Finding("ok", "port", f"a perwatt agent serves {address} already", runs=True)
        detail, _, fix = str(error).partition("; ")
        detail += _port_owner(host_and_port(address)[1])
        return Finding(
            "missing", "port", detail, f"{fix or 'change the address'} (--web.listen-address)", blocks=True
        )
    return Finding("ok", "port", f"{address} is free")


def _is_agent(address: str) -> bool:
    """Whether the page there is that of an agent of ours."""
    host, port = host_and_port(address)
    host = {"": "127.0.0.1", "0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)
    connection = HTTPConnection(host, port, timeout=PAGE_SECONDS)
    try:
        connection.request("GET", "/metrics")
        return AGENT_FAMILY in connection.getresponse().read(MAX_PAGE_BYTES)
    except (OSError, HTTPException):
        return False
    finally:
        connection.close()


def _port_owner(port: int) -> str:
    try:
        for each in psutil.net_connections("tcp"):
            if each.status == psutil.CONN_LISTEN and each.pid and each.laddr and each.laddr.port == port:
                return f" (used by {psutil.Process(each.pid).name()}, process {each.pid})"
    except psutil.Error:
        pass
    return ""
