"""Discovery: follows all sources of targets, and reports the whole list when it has changed."""

import asyncio
from collections.abc import Callable, Mapping
from types import MappingProxyType

import msgspec

from perwatt_agent.clock import Clock
from perwatt_aggregator.targets.config import (
    DnsSdConfig,
    FileSdConfig,
    HttpSdConfig,
    SourcesConfig,
    access_of,
)
from perwatt_aggregator.targets.dns_sd import DnsTargets
from perwatt_aggregator.targets.file_sd import FileTargets
from perwatt_aggregator.targets.http_sd import HttpTargets
from perwatt_aggregator.targets.source import TargetReader, TargetSource
from perwatt_aggregator.targets.target import Target, named, node_name

OnChange = Callable[[], None]
_Key = tuple[str, bytes]


class Discovery:
    """
    The targets of *config*: those that it names itself, and those of its sources.

    *on_change* is called when `targets` or `is_known` have changed.
    """

    def __init__(
        self,
        config: SourcesConfig,
        clock: Clock,
        on_change: OnChange,
        known: Mapping[_Key, TargetSource] = MappingProxyType({}),
    ) -> None:
        self._clock = clock
        self._on_change = on_change
        self._tasks: list[asyncio.Task[None]] = []
        self._sources = {
            key: known.get(key) or TargetSource(reader, clock) for key, reader in _readers(config).items()
        }
        self.config = config

    @property
    def sources(self) -> tuple[TargetSource, ...]:
        return tuple(self._sources.values())

    @property
    def targets(self) -> tuple[Target, ...]:
        """All targets, each page once: what the configuration names comes first."""
        found = [
            Target(node_name(agent.url), agent.url, dict(agent.labels), access_of(agent))
            for agent in self.config.named_agents
        ]
        return tuple(named([*found, *(target for source in self.sources for target in source.targets)]))

    @property
    def unknown(self) -> tuple[str, ...]:
        """The settings of the sources that have not been read yet: the fleet may have more nodes."""
        return tuple(source.setting for source in self.sources if not source.is_known)

    async def start(self) -> None:
        """Start to follow the sources; must be called on a running loop."""
        self._tasks = [
            asyncio.create_task(self._follow(source), name=f"follow {source.setting}")
            for source in self.sources
        ]

    async def stop(self) -> None:
        """Stop following; the targets stay."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._tasks = []

    async def succeeded_by(self, config: SourcesConfig) -> "Discovery":
        """
        Stop, and return a started discovery of *config*.

        Sources that stay keep what they know; new ones have been read once, so that no node leaves only
        because its new source was not read yet.
        """
        await self.stop()
        after = Discovery(config, self._clock, self._on_change, self._sources)
        await asyncio.gather(*(source.refresh() for source in after.sources if not source.is_known))
        await after.start()
        return after

    async def _follow(self, source: TargetSource) -> None:
        while True:
            started = self._clock.monotonic()
            if await source.refresh():
                self._on_change()
            await self._clock.sleep_until(started + source.interval_seconds)


def _readers(config: SourcesConfig) -> dict[_Key, TargetReader]:
    """A reader for each source, by its place and its configuration."""
    readers: dict[_Key, TargetReader] = {}
    for where, group in config.groups():
        key = where, msgspec.json.encode(group, enc_hook=str)
        if isinstance(group, FileSdConfig):
            readers[key] = FileTargets(group, where)
        elif isinstance(group, HttpSdConfig):
            readers[key] = HttpTargets(group, where)
        elif isinstance(group, DnsSdConfig):
            readers[key] = DnsTargets(group, where)
    return readers
