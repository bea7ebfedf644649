"""Memory of pages that are configured twice, in a file that outlives restarts of the agent and a reboot."""

import logging
from collections.abc import Collection, Sequence
from hashlib import sha256
from itertools import combinations
from pathlib import Path

import msgspec

logger = logging.getLogger(__name__)

_VERSION = 1
_NAME = "shared_pages.json"


class _File(msgspec.Struct):
    version: int
    pairs: list[tuple[str, str]]


class SharedPageMemory:
    """
    Loads and saves pairs of URLs that lead to one page. The file has their hashes: a URL may have a token.

    A folder that cannot be written costs only that the pages are compared anew after a restart; it is logged.
    """

    def __init__(self, folder: Path) -> None:
        self.file = folder / _NAME

    def load(self, urls: Sequence[str]) -> frozenset[frozenset[str]]:
        """The pairs among *urls* that were saved last; none where no file can be read."""
        try:
            file = msgspec.json.decode(self.file.read_bytes(), type=_File)
        except FileNotFoundError:
            return frozenset()
        except (OSError, msgspec.MsgspecError) as error:
            logger.warning("cannot read %s (%s): delete it, or make it readable", self.file, error)
            return frozenset()
        if file.version != _VERSION:
            return frozenset()
        saved = set(file.pairs)
        return frozenset(
            frozenset(pair) for pair in combinations(dict.fromkeys(urls), 2) if _hashes(pair) in saved
        )

    def save(self, pairs: Collection[frozenset[str]]) -> None:
        """Keep *pairs*. A crash leaves the old file or the new one."""
        content = _File(_VERSION, sorted(map(_hashes, pairs)))
        part = self.file.with_suffix(".part")
        try:
            self.file.parent.mkdir(parents=True, exist_ok=True)
            part.write_bytes(msgspec.json.encode(content))
            part.replace(self.file)
        except OSError as error:
            logger.warning(
                "a page that is configured twice will count twice for half a minute after a restart: cannot "
                "write %s (%s); make the folder writable or set data_dir",
                self.file,
                error.strerror,
            )


def _hashes(pair: Collection[str]) -> tuple[str, str]:
    one, two = sorted(sha256(url.encode()).hexdigest() for url in pair)
    return one, two
