"""Targets from a URL that answers with a JSON list, as Prometheus's HTTP service discovery."""

from perwatt_agent.configfile.printable import without_secrets
from perwatt_agent.net.http_client import FetchError, fetch
from perwatt_aggregator.targets.access import Access
from perwatt_aggregator.targets.config import HttpSdConfig
from perwatt_aggregator.targets.source import SourceFailed
from perwatt_aggregator.targets.target import Target
from perwatt_aggregator.targets.target_lists import MAX_LIST_BYTES, BadList, parse_json

TIMEOUT_SECONDS = 10.0


class HttpTargets:
    """The targets of one URL, as a `TargetReader`. The whole list comes with each answer."""

    def __init__(self, config: HttpSdConfig, setting: str) -> None:
        self._config = config
        self._access = Access(config.server)
        self.setting = setting
        self.interval_seconds = config.refresh_interval

    async def read(self) -> tuple[Target, ...]:
        """Raises SourceFailed."""
        url = self._config.url
        try:
            context, headers = self._access.of(url)
            document = await fetch(
                url,
                timeout_seconds=TIMEOUT_SECONDS,
                max_bytes=MAX_LIST_BYTES,
                headers={"Accept": "application/json", "Accept-Encoding": "gzip", **headers},
                tls_context=context,
            )
            return parse_json(document, self._config)
        except (FetchError, BadList, ValueError) as error:
            raise SourceFailed(f"{without_secrets(url)}: {error}"[:500]) from None
