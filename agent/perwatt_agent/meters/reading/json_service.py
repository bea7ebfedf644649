"""HTTP service with JSON documents: its credentials, its certificate, and its failures."""

import ssl
from collections.abc import Mapping
from typing import Any

import msgspec
from msgspec.structs import replace

from perwatt_agent.meters.config import PlaceConfig
from perwatt_agent.meters.meter import MeterFailure
from perwatt_agent.meters.reading.credentials import basic, bearer
from perwatt_agent.net.http_client import FetchError, Target, fetch
from perwatt_agent.net.tls import trusting

MAX_DOCUMENT_BYTES = 1024 * 1024
TIMEOUT_SECONDS = 10.0

_REASONS: Mapping[str, str] = {
    "resolve": "unreachable",
    "refused": "unreachable",
    "tls": "refused",
    "timeout": "timeout",
    "redirect": "refused",
    "status": "refused",
    "too_large": "malformed",
    "protocol": "malformed",
}
_STATUS_REASONS: Mapping[int, str] = {401: "permission_denied", 403: "permission_denied", 404: "absent"}
_FIXES: Mapping[str, str] = {
    "permission_denied": "; check credentials_file or bearer_token_file",
    "absent": "; check `url`",
}


class Service:
    """
    Service at the URL of *config*. Secrets are read again for each document, because they are rotated.

    Raises ValueError if the URL cannot be fetched or the CA file has no certificate.
    """

    def __init__(self, config: PlaceConfig, timeout_seconds: float = TIMEOUT_SECONDS) -> None:
        assert config.url is not None, "checked with the configuration"
        self._target = Target.of(config.url)
        self._config = config
        self._timeout_seconds = timeout_seconds
        self._trust = _trust(config) if self._target.tls else None

    @property
    def path(self) -> str:
        """Path of its URL, which is that of its own document."""
        return self._target.path

    async def document(self, path: str | None = None) -> Any:
        """Return the document at *path* of the same host, by default its own. Raises MeterFailure."""
        target = self._target if path is None else replace(self._target, path=path)
        try:
            body = await fetch(
                target,
                timeout_seconds=self._timeout_seconds,
                max_bytes=MAX_DOCUMENT_BYTES,
                headers={"Accept": "application/json", **self._authorization()},
                tls_context=self._trust,
            )
        except FetchError as error:
            raise _failure(error, target) from None
        return _decoded(body)

    def _authorization(self) -> dict[str, str]:
        try:
            if self._config.credentials_file is not None:
                return {"Authorization": basic(self._config.credentials_file)}
            if self._config.bearer_token_file is not None:
                return {"Authorization": bearer(self._config.bearer_token_file)}
        except ValueError as error:
            raise MeterFailure("permission_denied", f"expected {error}") from None
        return {}


def _trust(config: PlaceConfig) -> ssl.SSLContext:
    return ssl.create_default_context() if config.ca_file is None else trusting(config.ca_file)


def _failure(error: FetchError, target: Target) -> MeterFailure:
    reason = _STATUS_REASONS.get(error.status, _REASONS[error.reason])
    return MeterFailure(reason, f"{target.authority}{target.path}: {error}{_FIXES.get(reason, '')}")


def _decoded(body: bytes) -> Any:
    try:
        return msgspec.json.decode(body)
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError) as error:
        raise MeterFailure("malformed", f"the answer is not a JSON document: {error}") from None
