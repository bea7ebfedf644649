"""Start of the agent: what it loads before its first page sets how long that takes, and its memory."""

import subprocess
import sys

from perwatt.main import build_parser

NOT_OF_THE_AGENT = {
    "aiohttp": "the aggregator's client",
    "fastapi": "the aggregator's server",
    "perwatt_agent.gpu.simulated.backend": "for simulated GPUs",
    "perwatt_aggregator": "the aggregator itself",
    "prometheus_client": "the aggregator's metrics of its own process",
    "psutil": "for `perwatt doctor`",
    "pydantic": "part of FastAPI",
    "secrets": "loads hashes; the agent's id needs random bytes alone",
    "statistics": "loads fractions and decimals; the agent needs one median",
    "uvloop": "the aggregator's event loop: 2 MiB, and no cheaper a scrape a second",
    "yaml": "read only where there is a file",
}


def test_agent_loads_no_more_than_it_needs() -> None:
    """An agent that is started without a file loads nothing of the aggregator, and no YAML."""
    code = (
        "import sys; from perwatt.main import build_parser; build_parser(['agent']).parse_args(['agent']); "
        f"import perwatt.run.agent; print(sorted({set(NOT_OF_THE_AGENT)!r} & set(sys.modules)))"
    )

    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert "[]\n" == result.stdout


def test_flags_of_the_given_command_alone() -> None:
    """A parser for given arguments knows the flags of their command; the plain one knows all."""
    given = ["query", "efficiency", "--json"]

    of_query = build_parser(given).parse_args(given)
    of_all = build_parser().parse_args(given)

    assert vars(of_all).keys() == vars(of_query).keys()
    assert of_query.json
