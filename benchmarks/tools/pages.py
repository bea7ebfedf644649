"""Pages to work on: an engine's of 100 kB, and an agent's as it is some seconds later."""

import re

from support.engines.engine_pages import engine_page

PAGE = "vllm-0.32.0-3-underload-4"
PAGE_BYTES = 100_000
_COUNTER = re.compile(rb"^(perwatt_\w+_total(?:\{[^}]*\})?) (\S+)$", re.MULTILINE)
_STILL = re.compile(b"events|failures|requests|loading|idle|unattributed")
_TIMESTAMP = re.compile(rb"^(perwatt_\w+_timestamp_seconds(?:\{[^}]*\})?) \S+$", re.MULTILINE)


def engine_page_100k() -> bytes:
    """A real page with the samples of further engine cores, as data parallel engines have them."""
    page, core = engine_page(PAGE), 1
    samples = [line for line in page.splitlines() if b'engine="0"' in line]
    while len(page) < PAGE_BYTES:
        page += b"".join(line.replace(b'engine="0"', b'engine="%d"' % core) + b"\n" for line in samples)
        core += 1
    return page


def replayed(template: bytes, seconds: float, unix_seconds: float) -> bytes:
    """An agent's page some seconds later: time counts by 1 a second, joules and tokens by 100."""

    def grown(found: re.Match[bytes]) -> bytes:
        rate = 0.0 if _STILL.search(found[1]) else 1.0 if b"_seconds_total" in found[1] else 100.0
        return b"%b %.3f" % (found[1], float(found[2]) + rate * seconds)

    return _TIMESTAMP.sub(rb"\g<1> %.3f" % unix_seconds, _COUNTER.sub(grown, template))
