"""The systemd units: accepted by systemd itself, tightly confined, and true to the agent's contract."""

import configparser
import os
import shutil
import socket
import subprocess
from collections.abc import Iterable
from itertools import combinations
from pathlib import Path

import pytest

UNITS = sorted((Path(__file__).parents[2] / "deploy" / "systemd").glob("*.service"))
DROP_IN = UNITS[0].with_name("discovery.conf")
NOBODY = "65534"
EXPOSURE_LIMIT = 20  # tenths of systemd's score of 0 to 10


def complaints(unit: Path, directory: Path, typo: tuple[str, str] = ("", "")) -> str:
    """Output of `systemd-analyze verify`, with a program in place of the one that is not installed here."""
    copy = directory / unit.name
    copy.write_text(unit.read_text().replace("/opt/perwatt/bin/perwatt", "/bin/true").replace(*typo))
    command = ["systemd-analyze", "verify", "--man=no", str(copy)]

    return subprocess.run(command, capture_output=True, text=True, check=False).stderr


def sections(unit: Path) -> configparser.ConfigParser:
    parser = configparser.ConfigParser(strict=False, interpolation=None)
    parser.optionxform = str  # type: ignore[assignment,method-assign]
    parser.read(unit)
    return parser


def test_there_is_a_unit_for_each_daemon() -> None:
    """Both daemons have their unit."""
    assert ["perwatt-agent.service", "perwatt-aggregator.service"] == [unit.name for unit in UNITS]


@pytest.mark.parametrize("unit", UNITS, ids=lambda unit: unit.name)
def test_systemd_accepts_the_unit(unit: Path, tmp_path: Path) -> None:
    """systemd accepts every key and value, and rejects a typing error."""
    assert unit.name not in complaints(unit, tmp_path)
    assert unit.name in complaints(unit, tmp_path, typo=("UMask=", "UMmask="))


@pytest.mark.parametrize("unit", UNITS, ids=lambda unit: unit.name)
def test_exposure_is_low(unit: Path) -> None:
    """systemd's own exposure score stays below the limit."""
    command = ["systemd-analyze", "security", "--offline=true", f"--threshold={EXPOSURE_LIMIT}", str(unit)]
    result = subprocess.run(command, capture_output=True, text=True, check=False)

    assert 0 == result.returncode, result.stdout


@pytest.mark.parametrize("unit", UNITS, ids=lambda unit: unit.name)
def test_daemons_come_back(unit: Path) -> None:
    """However a daemon ends, its supervisor starts it again, without a limit, and never as root."""
    service = sections(unit)

    assert "always" == service["Service"]["Restart"]
    assert "0" == service["Unit"]["StartLimitIntervalSec"]
    assert "yes" == service["Service"]["DynamicUser"]


def test_agent_keeps_its_state_and_reaches_the_driver() -> None:
    """Workload joules survive a restart of the agent, and NVIDIA's nodes are the only devices it may open."""
    text = UNITS[0].read_text()
    service = sections(UNITS[0])["Service"]
    devices = [
        line.removeprefix("DeviceAllow=") for line in text.splitlines() if line.startswith("DeviceAllow=")
    ]

    assert ("perwatt", "restart") == (service["RuntimeDirectory"], service["RuntimeDirectoryPreserve"])
    assert "closed" == service["DevicePolicy"]
    assert {"char-nvidia* rw", "/dev/char/195:255 rw", "/dev/char/195:0 rw"} <= set(devices)
    assert [] == [device for device in devices if "nvidia" not in device and "/195:" not in device]


class TestDiscovery:
    """Drop-in of the agent's unit to discover engines of other users."""

    def test_systemd_accepts_it(self, tmp_path: Path) -> None:
        """systemd accepts every key of the drop-in with the unit, and rejects a typing error."""
        beside = tmp_path / f"{UNITS[0].name}.d" / DROP_IN.name
        beside.parent.mkdir()
        shutil.copy(DROP_IN, beside)
        assert DROP_IN.name not in complaints(UNITS[0], tmp_path)

        beside.write_text(DROP_IN.read_text().replace("AmbientCapabilities", "AmbientCapability"))
        assert DROP_IN.name in complaints(UNITS[0], tmp_path)

    def test_nothing_without_it(self) -> None:
        """The unit alone has no capability at all."""
        assert "" == sections(UNITS[0])["Service"]["CapabilityBoundingSet"]
        assert "AmbientCapabilities" not in sections(UNITS[0])["Service"]

    @pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody else")
    def test_capabilities_are_the_least(self) -> None:
        """With its capabilities one sees whose a socket is; with any fewer of them one does not."""
        service = sections(DROP_IN)["Service"]
        granted = service["AmbientCapabilities"].split()

        assert granted == service["CapabilityBoundingSet"].split()
        with socket.create_server(("127.0.0.1", 0)) as listening:
            assert sees(listening, granted)
            for fewer in (fewer for size in range(len(granted)) for fewer in combinations(granted, size)):
                assert not sees(listening, fewer), fewer


def sees(listening: socket.socket, capabilities: Iterable[str]) -> bool:
    """Whether the user nobody, with these capabilities, sees that the socket is this process's."""
    given = "".join(f",+{name.removeprefix('CAP_').lower()}" for name in capabilities)
    user = ["setpriv", f"--reuid={NOBODY}", "--clear-groups", f"--inh-caps=-all{given}"]
    link = ["readlink", f"/proc/{os.getpid()}/fd/{listening.fileno()}"]
    command = [*user, f"--ambient-caps=-all{given}", *link]
    told = subprocess.run(command, capture_output=True, text=True, check=False).stdout

    return told.strip() == f"socket:[{os.fstat(listening.fileno()).st_ino}]"


def test_systemd_hears_of_the_agent() -> None:
    """The agent's unit waits for its word, and restarts it when its sampling stands still."""
    service = sections(UNITS[0])["Service"]

    assert ("notify", "main", "30") == (service["Type"], service["NotifyAccess"], service["WatchdogSec"])
