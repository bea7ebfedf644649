"""Client of the HTTP API of Prometheus: instant queries, bounded in time and size."""

import asyncio
import logging

import aiohttp
import msgspec
from msgspec import Struct

from perwatt_agent.configfile.printable import without_secrets
from perwatt_aggregator.targets.access import Access
from perwatt_aggregator.targets.config import PrometheusConfig

logger = logging.getLogger(__name__)

SETTING = "sources.prometheus"
MAX_ANSWER_BYTES = 64 * 1024 * 1024
"""Of one query. A page of 8 GPUs and a minute of scrapes take 100 kB."""
_MAX_ERROR_BYTES = 64 * 1024
_CHUNK_BYTES = 256 * 1024
_HEADERS = {
    "Accept": "application/json",
    # Limits are on what arrives: nothing is unpacked.
    "Accept-Encoding": "identity",
    "User-Agent": "perwatt-aggregator",
}
_WHOLE = {
    "partial_response": "false",  # Thanos
    "dedup": "true",
    "max_source_resolution": "0s",
    "deny_partial_response": "1",  # VictoriaMetrics
    "nocache": "1",
}
"""Parameters of engines that would otherwise leave out data in silence; the others ignore them."""


class PrometheusFailed(Exception):
    """The server did not answer a query; the message names the setting to change."""


class TooManySamples(Exception):
    """The server refuses to read so many samples at once."""


class Row(Struct):
    """One series with its raw samples: Unix seconds and the value as text."""

    metric: dict[str, str]
    values: list[tuple[float, str | None]] = []


class Matrix(Struct):
    """The answer to a query of raw samples; `warnings` are those of the server."""

    rows: list[Row]
    warnings: tuple[str, ...] = ()


class _Data(Struct, rename="camel"):
    result_type: str
    result: list[Row]


class _Answer(Struct, rename="camel"):
    status: str
    data: _Data | None = None
    error_type: str = ""
    error: str = ""
    warnings: list[str] | None = None
    is_partial: bool = False


class PrometheusClient:
    """Sends queries to the server of *config*. Connections are opened when they are first needed."""

    def __init__(self, config: PrometheusConfig) -> None:
        self._config = config
        self._access = Access(config)
        self._url = f"{config.url.rstrip('/')}/api/v1/query"
        self._session: aiohttp.ClientSession | None = None

    async def close(self) -> None:
        if self._session is not None:
            await self._session.close()
            self._session = None

    async def raw(self, expression: str, unix_seconds: float) -> Matrix:
        """The raw samples of *expression* up to an instant. Raises PrometheusFailed and TooManySamples."""
        try:
            status, body = await self._post(expression, unix_seconds)
        except asyncio.TimeoutError:
            raise self.failed(
                f"no complete answer within {self._config.timeout:g} s; raise `{SETTING}.timeout`"
            ) from None
        except aiohttp.ClientSSLError as error:
            raise self.failed(f"{error}; check `ca_file`") from error
        except (aiohttp.ClientError, OSError, ValueError) as error:
            raise self.failed(f"{type(error).__name__}: {error}") from error
        return self._matrix(status, body)

    async def _post(self, expression: str, unix_seconds: float) -> tuple[int, bytes]:
        context, secret = self._access.of(self._url)
        if self._session is None:
            self._session = aiohttp.ClientSession(
                auto_decompress=False,
                cookie_jar=aiohttp.DummyCookieJar(),
                timeout=aiohttp.ClientTimeout(total=self._config.timeout),
            )
        form = {"query": expression, "time": f"{unix_seconds:.3f}", **_WHOLE}
        headers = {**_HEADERS, **self._config.headers, **secret}
        async with self._session.post(
            self._url, data=form, headers=headers, ssl=context or True, allow_redirects=False
        ) as response:
            if response.headers.get("Content-Encoding", "identity") != "identity":
                raise ValueError("the answer is compressed, though that was not asked for")
            limit = MAX_ANSWER_BYTES if response.status == 200 else _MAX_ERROR_BYTES
            body = bytearray()
            async for chunk in response.content.iter_chunked(_CHUNK_BYTES):
                body += chunk
                if len(body) > limit:
                    raise TooManySamples(f"the answer has more than {limit} bytes")
            return response.status, bytes(body)

    def _matrix(self, status: int, body: bytes) -> Matrix:
        try:
            answer = msgspec.json.decode(body, type=_Answer)
        except msgspec.MsgspecError as error:
            what = f"status {status}" if status != 200 else f"no answer of the API ({error})"
            raise self.failed(f"{what}{_cure(status)}") from None
        if "too many samples" in answer.error:
            raise TooManySamples(answer.error[:300])
        if answer.status != "success" or answer.data is None:
            raise self.failed(f"{answer.error_type}: {answer.error}{_cure(status)}")
        if answer.data.result_type != "matrix":
            raise self.failed(f"expected raw samples, not {answer.data.result_type!r}")
        warnings = tuple(answer.warnings or ())
        if answer.is_partial:
            warnings += ("the answer is partial",)
        return Matrix(answer.data.result, warnings)

    def failed(self, message: str) -> PrometheusFailed:
        """The error for a *message*, which names the server."""
        url = without_secrets(self._config.url)
        return PrometheusFailed(f"`{SETTING}.url` {url}: {message}"[:500])


def _cure(status: int) -> str:
    if status in (401, 403):
        return "; configure its credentials"
    if status == 404:
        return "; check the prefix in the URL"
    return "; configure the URL to which it redirects" if 300 <= status < 400 else ""
