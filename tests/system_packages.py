"""
Install the Debian packages that the tests need and that are missing.

What cannot be installed is named, and the exit code is 1, so that `make test` stops before the first test.
"""

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

# program that must be on PATH -> Debian package that brings it
PROGRAMS = {
    "gcc": "gcc",
    "prometheus": "prometheus",
    "promtool": "prometheus",
    "victoria-metrics": "victoria-metrics",
    "chromium": "chromium",
    "systemd-analyze": "systemd",
    "setpriv": "util-linux",
}

# gcc only recommends the C library's headers, and recommendations are not installed here.
HEADERS = {"stdio.h": "libc6-dev"}

# Debian starts the services that it installs unless this file forbids it.
POLICY = Path("/usr/sbin/policy-rc.d")


def missing() -> dict[str, str]:
    """What is not here: program or header -> Debian package."""
    programs = {name: package for name, package in PROGRAMS.items() if shutil.which(name) is None}
    headers = {name: package for name, package in HEADERS.items() if not _has_header(name)}
    return programs | headers


def _has_header(name: str) -> bool:
    if shutil.which("gcc") is None:
        return False
    command = ["gcc", "-E", "-include", name, "-x", "c", "-"]
    return 0 == subprocess.run(command, input=b"", capture_output=True, check=False).returncode


@contextmanager
def no_service_starts(policy: Path = POLICY) -> Iterator[None]:
    """Forbid Debian to start services meanwhile; a policy that the machine has already stays as it is."""
    if os.geteuid() != 0 or policy.exists():
        yield
        return
    try:
        policy.write_text("#!/bin/sh\nexit 101\n")
        policy.chmod(0o755)
        yield
    finally:
        policy.unlink(missing_ok=True)


def install(packages: list[str]) -> None:
    """Install with apt-get; say why where that fails."""
    sudo = [] if os.geteuid() == 0 else ["sudo", "-n"]
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    for arguments in (["update", "-qq"], ["install", "-y", "-qq", "--no-install-recommends", *packages]):
        command = [*sudo, "apt-get", *arguments]
        result = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
        if result.returncode != 0:
            print(f"{' '.join(command)} failed: {result.stderr.strip()[-400:]}", file=sys.stderr)
            return


def main() -> int:
    if missing() and shutil.which("apt-get"):
        with no_service_starts():
            install(sorted(set(missing().values())))
    still_missing = missing()
    for name, package in still_missing.items():
        print(f"missing: {name}, from the Debian package {package}", file=sys.stderr)
    if still_missing:
        packages = " ".join(sorted(set(still_missing.values())))
        print(f"The tests need these packages: apt-get install {packages}", file=sys.stderr)
    return 1 if still_missing else 0


if __name__ == "__main__":
    sys.exit(main())
