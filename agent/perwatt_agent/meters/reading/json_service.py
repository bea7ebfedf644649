"""HTTP service with JSON documents: its credentials, its certificate, and its failures."""

import ssl
from collections.abc import Mapping
from typing import Any
from urllib.parse import urljoin

import msgspec
from msgspec.structs import replace

from perwatt_agent.meters.config import PlaceConfig
from perwatt_agent.meters.meter import MeterFailure
from perwatt_agent.meters.reading.credentials import basic, bearer
from perwatt_agent.net.http_client import FetchError, Target, fetch
from perwatt_agent.net.tls import trusting

MAX_DOCUMENT_BYTES = 1024 * 1024
TIMEOUT_SECONDS = 10.0
MAX_MOVED = 1024
"""Paths whose redirect is remembered; others cost a second request each time."""

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
        self._moved: dict[str, Target] = {}

    @property
    def path(self) -> str:
        """Path of its URL, which is that of its own document."""
        return self._target.path

    async def document(self, path: str | None = None) -> Any:
        """
        Return the document at *path* of the same host, by default its own. Raises MeterFailure.

        One redirect is followed: to the same path of the same host, with or without a final `/`. The service
        is then asked at that path from the start.
        """
        asked = self._target if path is None else replace(self._target, path=path)
        target = self._moved.get(asked.path, asked)
        try:
            body = await self._fetch(target)
        except FetchError as error:
            self._moved.pop(asked.path, None)
            moved = _with_other_end(target, error.location)
            if moved is None:
                raise _failure(error, target) from None
            body = await self._fetch_moved(asked, moved)
        return _decoded(body)

    async def _fetch_moved(self, asked: Target, moved: Target) -> bytes:
        try:
            body = await self._fetch(moved)
        except FetchError as error:
            raise _failure(error, moved) from None
        if "?" not in asked.path and len(self._moved) < MAX_MOVED:  # a query has a new path each time
            self._moved[asked.path] = moved
        return body

    async def _fetch(self, target: Target) -> bytes:
        return await fetch(
            target,
            timeout_seconds=self._timeout_seconds,
            max_bytes=MAX_DOCUMENT_BYTES,
            headers={"Accept": "application/json", **self._authorization()},
            tls_context=self._trust,
        )

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


def _with_other_end(target: Target, location: str) -> Target | None:
    """Return the target of a redirect that only adds or removes a final `/`, on the same host, or None."""
    try:
        scheme = "https" if target.tls else "http"
        moved = Target.of(urljoin(f"{scheme}://{target.authority}{target.path}", location))
    except ValueError:
        return None
    (path, _, query), (other_path, _, other_query) = target.path.partition("?"), moved.path.partition("?")
    ends_differ = other_path in (f"{path}/", path.removesuffix("/")) and other_path != path
    same_place = replace(moved, path=target.path) == target and query == other_query
    return moved if location and ends_differ and same_place else None


def _failure(error: FetchError, target: Target) -> MeterFailure:
    reason = _STATUS_REASONS.get(error.status, _REASONS[error.reason])
    # The query of a URL may have a token.
    where = f"{target.authority}{target.path.partition('?')[0]}"
    return MeterFailure(reason, f"{where}: {error}{_FIXES.get(reason, '')}")


def _decoded(body: bytes) -> Any:
    try:
        return msgspec.json.decode(body)
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError) as error:
        raise MeterFailure("malformed", f"the answer is not a JSON document: {error}") from None
