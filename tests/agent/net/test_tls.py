"""TLS contexts of pages."""

import ssl
from pathlib import Path

import pytest
from support.processes.kubelet_pods import CERTIFICATE

from perwatt_agent.net.tls import trusting, unchecked


def test_trusting(tmp_path: Path) -> None:
    """A CA file is trusted alone; a file without a certificate is refused, with the key to change."""
    assert trusting(CERTIFICATE).verify_mode == ssl.CERT_REQUIRED
    (tmp_path / "empty").write_text("")
    for file in (tmp_path / "empty", tmp_path / "missing"):
        with pytest.raises(ValueError, match="check `ca_file`"):
            trusting(file)


def test_unchecked() -> None:
    """Any certificate is accepted, and the context is made once."""
    assert (ssl.CERT_NONE, False) == (unchecked().verify_mode, unchecked().check_hostname)
    assert unchecked() is unchecked()
