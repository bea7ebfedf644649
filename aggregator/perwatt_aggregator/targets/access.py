"""Access to a page: TLS context and headers, made from files and made again when these change."""

import base64
import logging
import ssl
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

from perwatt_agent.meters.reading.credentials import bearer
from perwatt_agent.net.tls import trusting
from perwatt_aggregator.targets.config import AccessConfig, BasicAuthConfig

logger = logging.getLogger(__name__)

_LOOPBACK = frozenset(("localhost", "127.0.0.1", "::1"))

_Stamp = tuple[tuple[int, int, int], ...]


class Access:
    """
    Reads the files of *config* when they are first needed, and again when they have changed.

    A rotated certificate or token is used from the next request on.
    """

    def __init__(self, config: AccessConfig) -> None:
        self._config = config
        self._stamp: _Stamp | None = None
        self._context: ssl.SSLContext | None = None
        self._headers: dict[str, str] = {}
        self._has_warned = False

    def of(self, url: str) -> tuple[ssl.SSLContext | None, dict[str, str]]:
        """
        The TLS context, None for the system's, and the headers of a request to *url*.

        Raises ValueError, which names the file that cannot be used.
        """
        stamp = _stamp(_files(self._config))
        if stamp != self._stamp:
            self._context, self._headers = _context(self._config), dict(_headers(self._config))
            self._stamp = stamp
        self._warn(url)
        return self._context, self._headers

    def _warn(self, url: str) -> None:
        parts = urlsplit(url)
        exposed = self._config.has_secret and parts.scheme == "http" and parts.hostname not in _LOOPBACK
        if exposed and not self._has_warned:
            self._has_warned = True
            logger.warning(
                "a token or password goes to %s over plain HTTP, where others can read it; use https://",
                parts.netloc,
            )


class Accesses:
    """One Access for each configuration, so that nodes share connections, contexts and warnings."""

    def __init__(self) -> None:
        self._known: dict[AccessConfig, Access] = {}

    def of(self, config: AccessConfig) -> Access:
        if config not in self._known:
            self._known[config] = Access(config)
        return self._known[config]


def _files(config: AccessConfig) -> Iterator[Path]:
    basic = config.basic_auth
    for path in (config.ca_file, config.cert_file, config.key_file, config.bearer_token_file):
        if path is not None:
            yield path
    if basic is not None:
        yield basic.password_file
        if basic.username_file is not None:
            yield basic.username_file


def _stamp(files: Iterator[Path]) -> _Stamp:
    """Raises ValueError if a file is not there."""
    try:
        stats = [path.stat() for path in files]
    except OSError as error:
        raise ValueError(f"{error.filename}: {error.strerror}") from None
    return tuple((one.st_mtime_ns, one.st_size, one.st_ino) for one in stats)


def _context(config: AccessConfig) -> ssl.SSLContext | None:
    if config.ca_file is None and config.cert_file is None:
        return None
    context = trusting(config.ca_file) if config.ca_file else ssl.create_default_context()
    if config.cert_file is not None:
        try:
            context.load_cert_chain(config.cert_file, config.key_file)
        except OSError as error:
            raise ValueError(f"{config.cert_file}: {error}; check `cert_file` and `key_file`") from None
    return context


def _headers(config: AccessConfig) -> Iterator[tuple[str, str]]:
    if config.bearer_token_file is not None:
        yield "Authorization", _secret(config.bearer_token_file)
    elif config.basic_auth is not None:
        yield "Authorization", _basic(config.basic_auth)


def _basic(config: BasicAuthConfig) -> str:
    # The password's file is checked like a token's, and holds one line likewise.
    password = _secret(config.password_file).removeprefix("Bearer ")
    try:
        user = config.username or (config.username_file or Path()).read_text().strip()
    except (OSError, UnicodeDecodeError) as error:
        raise ValueError(f"{config.username_file}: {error}") from None
    return "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode("ascii")


def _secret(path: Path) -> str:
    try:
        return bearer(path)
    except ValueError as error:
        raise ValueError(f"{path}: expected {error}") from None
