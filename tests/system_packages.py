"""
Install the Debian packages that the tests need and that are not here yet.

Where something cannot be installed, say what; in CI that is a failure, elsewhere the tests that need it fail
by themselves.
"""

import os
import shutil
import subprocess
import sys
from pathlib import Path

# program that must be on PATH -> Debian package that brings it
NEEDED = {
    "gcc": "gcc",
    "prometheus": "prometheus",
    "promtool": "prometheus",
    "chromium": "chromium",
    "systemd-analyze": "systemd",
    "setpriv": "util-linux",
}

# Debian starts services when it installs them unless this file forbids it.
POLICY = Path("/usr/sbin/policy-rc.d")


def missing() -> dict[str, str]:
    return {program: package for program, package in NEEDED.items() if shutil.which(program) is None}


def install(packages: list[str]) -> None:
    sudo = [] if os.geteuid() == 0 else ["sudo", "-n"]
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    if os.geteuid() == 0 and not POLICY.exists():
        POLICY.write_text("#!/bin/sh\nexit 101\n")
        POLICY.chmod(0o755)
    for arguments in (["update", "-qq"], ["install", "-y", "-qq", "--no-install-recommends", *packages]):
        command = [*sudo, "apt-get", *arguments]
        result = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
        if result.returncode != 0:
            print(f"{' '.join(command)} failed: {result.stderr.strip()[-400:]}", file=sys.stderr)
            return


def main() -> int:
    if missing() and shutil.which("apt-get"):
        install(sorted(set(missing().values())))
    still_missing = missing()
    for program, package in still_missing.items():
        print(f"missing: {program} (Debian package {package}); tests that need it will fail", file=sys.stderr)
    return 1 if still_missing and os.environ.get("CI") else 0


if __name__ == "__main__":
    sys.exit(main())
