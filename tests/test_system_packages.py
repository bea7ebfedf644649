"""Installing what the tests need leaves nothing else on the machine."""

import os
from contextlib import suppress
from pathlib import Path

import pytest
import system_packages


@pytest.mark.skipif(os.geteuid() != 0, reason="only root writes the policy")
def test_the_policy_is_removed(tmp_path: Path) -> None:
    """Services are forbidden to start during the installation alone, also if that fails."""
    policy = tmp_path / "policy-rc.d"
    with suppress(KeyboardInterrupt), system_packages.no_service_starts(policy):
        assert "#!/bin/sh\nexit 101\n" == policy.read_text()
        raise KeyboardInterrupt
    assert not policy.exists()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root writes the policy")
def test_a_policy_of_the_machine_stays(tmp_path: Path) -> None:
    """What an administrator has put there is neither changed nor removed."""
    policy = tmp_path / "policy-rc.d"
    policy.write_text("exit 0\n")
    with system_packages.no_service_starts(policy):
        assert "exit 0\n" == policy.read_text()
    assert "exit 0\n" == policy.read_text()


def test_a_missing_header_is_named() -> None:
    """A compiler without the header does not count as having it."""
    assert not system_packages._has_header("no_such_header.h")
