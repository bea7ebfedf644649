"""Targets from DNS: one for each address of a host name."""

import asyncio
import ipaddress
import socket
from collections.abc import Awaitable, Callable

from perwatt_aggregator.targets.config import DnsSdConfig
from perwatt_aggregator.targets.source import SourceFailed
from perwatt_aggregator.targets.target import Target
from perwatt_aggregator.targets.target_lists import MAX_TARGETS, BadList, target_at

TIMEOUT_SECONDS = 10.0
_FAMILIES = {"any": socket.AF_UNSPEC, "A": socket.AF_INET, "AAAA": socket.AF_INET6}

Lookup = Callable[[str, int], Awaitable[list[str]]]
"""The addresses of a name, of one family of addresses. Raises OSError."""


async def system_lookup(name: str, family: int) -> list[str]:
    """The addresses by the system's resolver, so that its files and search domains count."""
    found = await asyncio.get_running_loop().getaddrinfo(name, None, family=family, type=socket.SOCK_STREAM)
    return [str(address[0]) for *_, address in found]


class DnsTargets:
    """
    The targets of one name, as a `TargetReader`.

    A name without an address is a failure, so that the last good list stays: a resolver that has lost a zone
    and a zone without addresses answer alike.
    """

    def __init__(self, config: DnsSdConfig, setting: str, lookup: Lookup = system_lookup) -> None:
        self._config = config
        self._lookup = lookup
        self.setting = setting
        self.interval_seconds = config.refresh_interval

    async def read(self) -> tuple[Target, ...]:
        """Raises SourceFailed."""
        config = self._config
        try:
            found = await asyncio.wait_for(self._lookup(config.name, _FAMILIES[config.type]), TIMEOUT_SECONDS)
            addresses = sorted(set(found))
            if not addresses:
                raise OSError(0, "it has no address")
            if len(addresses) > MAX_TARGETS:
                raise BadList(f"expected at most {MAX_TARGETS} addresses")
            return tuple(
                target_at(f"{_host(one)}:{config.port}", {"__scheme__": config.scheme}, config)
                for one in addresses
            )
        except asyncio.TimeoutError:
            raise SourceFailed(f"{config.name}: no answer of the resolver in {TIMEOUT_SECONDS:g} s") from None
        except OSError as error:
            raise SourceFailed(f"{config.name}: {error.strerror or error}; check the name") from None
        except BadList as error:
            raise SourceFailed(f"{config.name}: {error}") from None


def _host(address: str) -> str:
    address = address.partition("%")[0]
    return f"[{address}]" if isinstance(ipaddress.ip_address(address), ipaddress.IPv6Address) else address
