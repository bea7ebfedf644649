"""TLS contexts: one that trusts a CA of the user's, and one for pages whose server is known otherwise."""

import ssl
from functools import lru_cache
from pathlib import Path


def trusting(ca_file: Path) -> ssl.SSLContext:
    """Return a context that trusts *ca_file* alone. Raises ValueError if it has no certificates."""
    try:
        return ssl.create_default_context(cafile=ca_file)
    except OSError as error:
        message = f"{ca_file} has no certificates in PEM format ({error}): check `ca_file`"
        raise ValueError(message) from None


@lru_cache(maxsize=1)
def unchecked() -> ssl.SSLContext:
    """
    Return a context that accepts any certificate.

    It is for pages that discovery reads by an address: no certificate names a pod's address or loopback. Who
    serves them is known from the process or the pod, no secret is sent, and plain HTTP would be read as well.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context
