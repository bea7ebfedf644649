"""A local page is identified by the process that listens there, which also shows restarts."""

import logging
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from support.accounts.readings import counts, info
from support.agent.process import free_port
from support.engines import engine_trees
from support.engines.engine_pages import ENGINE_PAGES
from support.processes.cgroup_trees import add_process
from support.processes.process_trees import Actor, Tree, running

from perwatt.run.bootstrap import build_poller, configured_endpoints
from perwatt_agent.clock import SystemClock
from perwatt_agent.config import AgentConfig, EndpointConfig, EnginesConfig
from perwatt_agent.discovery.port_owner import LocalPort, LocalReader, PortOwnerLookup
from perwatt_agent.discovery.process_table import ProcessTable
from perwatt_agent.engine.endpoint_poller import EngineFailure
from perwatt_agent.engine.engine_page_reader import EnginePageReader
from perwatt_agent.facts.engine_counts import EngineCounts
from perwatt_agent.identity.identifier import Identifier
from perwatt_agent.identity.workload_names import WorkloadNames

# It does not tell when its process was started.
SGLANG_PAGE = str(ENGINE_PAGES / "sglang-0.5.23-3-after.prom")


def port_owners() -> PortOwnerLookup:
    return PortOwnerLookup(ProcessTable(), SystemClock())


def started(pid: int) -> float:
    table = ProcessTable()
    process = table.process(pid)
    assert process is not None
    moment = table.started_unix_seconds(process)
    assert moment is not None
    return moment


class TestHolder:
    @pytest.mark.parametrize(
        ("bound", "host"),
        [
            ("127.0.0.1", "127.0.0.1"),
            ("127.0.0.1", "localhost"),
            ("0.0.0.0", "127.0.0.1"),
            ("::1", "::1"),
            ("::1", "localhost"),
            ("::", "127.0.0.1"),
            ("::", "::1"),
        ],
    )
    async def test_whoever_listens(self, tmp_path: Path, bound: str, host: str) -> None:
        """The process is found by the address that a URL leads to, whatever address it was bound to."""
        with running(tmp_path, engine_trees.vllm(host=bound)) as tree:
            port = LocalPort(port_owners(), host, tree.port("api"))
            assert None is port.pid(), "nobody has looked yet"

            await port.holder()
            assert tree.pid("root") == port.pid()

    async def test_other_addresses(self, tmp_path: Path) -> None:
        """A socket that the URL does not lead to is another's."""
        with running(tmp_path, engine_trees.vllm(host="127.0.0.2")) as tree:
            assert None is await LocalPort(port_owners(), "127.0.0.1", tree.port("api")).holder()

    async def test_first_of_several(self, tmp_path: Path) -> None:
        """Of processes that hold one socket together, the one that was launched is it."""
        with running(tmp_path, engine_trees.vllm_two_servers()) as tree:
            port = LocalPort(port_owners(), "127.0.0.1", tree.port("api"))
            await port.holder()

            assert tree.pid("root") == port.pid()

    async def test_forwarders(self, tmp_path: Path) -> None:
        """A forwarder that listens for the engine does not identify it."""
        proxy = Actor("root", "/usr/bin/docker-proxy -proto tcp", [engine_trees.api()])
        with running(tmp_path, proxy) as tree:
            assert None is await LocalPort(port_owners(), "127.0.0.1", tree.port("api")).holder()

    async def test_in_vain(self) -> None:
        """A socket whose owner was not found is not looked up again while it is the same socket."""
        with socket.create_server(("127.0.0.1", 0)) as listening:
            number = listening.getsockname()[1]
            sockets, holder = await port_owners().find("127.0.0.1", number, frozenset())
            assert holder is not None

            assert (sockets, None) == await port_owners().find("127.0.0.1", number, sockets)


async def test_hidden_owner(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """A socket whose owner may not be seen is said once, with the grant that shows it."""
    caplog.set_level(logging.INFO)
    (tmp_path / "net").mkdir()
    (tmp_path / "net/tcp").write_text(
        "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n"
        "   0: 0100007F:1F40 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 4711 1\n"
    )
    lookup = PortOwnerLookup(ProcessTable(tmp_path), SystemClock())
    port = LocalPort(lookup, "127.0.0.1", 8000)
    for _ in range(3):
        assert None is await port.holder()

    assert 1 == caplog.text.count("CAP_SYS_PTRACE")


class TestRestart:
    async def test_by_the_listener(self, tmp_path: Path) -> None:
        """If a page has no start time, that of the listener is used, a new one after each restart."""
        number = free_port()
        with running(tmp_path / "a", engine_trees.vllm(SGLANG_PAGE, port=number)) as first:
            port = LocalPort(port_owners(), "127.0.0.1", number)
            reader = LocalReader(EnginePageReader(f"http://127.0.0.1:{number}/metrics"), port)
            heard = await reader.read()
            assert started(first.pid("root")) == heard.process_start_unix_seconds
            assert "sglang" == reader.engine

        with pytest.raises(EngineFailure, match="no connection"):
            await reader.read()
        with running(tmp_path / "b", engine_trees.vllm(SGLANG_PAGE, port=number)) as second:
            heard = await reader.read()
            assert started(second.pid("root")) == heard.process_start_unix_seconds
            assert second.pid("root") == port.pid()

    async def test_the_page_knows_better(self, tmp_path: Path) -> None:
        """A start time on the page is not changed."""
        with running(tmp_path, engine_trees.vllm()) as tree:
            url = f"http://127.0.0.1:{tree.port('api')}/metrics"
            plain = await EnginePageReader(url).read()
            port = LocalPort(port_owners(), "127.0.0.1", tree.port("api"))

            assert plain == await LocalReader(EnginePageReader(url), port).read()
            assert plain.process_start_unix_seconds is not None

    async def test_between_two_lives(self, tmp_path: Path) -> None:
        """Counts that may be of either of two processes are not taken."""
        with running(tmp_path, engine_trees.vllm()) as tree:

            class EndsMeanwhile:
                engine = "vllm"
                faults = ()

                async def read(self) -> EngineCounts:
                    tree.kill()
                    return counts(1.0)

            port = LocalPort(port_owners(), "127.0.0.1", tree.port("api"))
            with pytest.raises(EngineFailure) as caught:
                await LocalReader(EndsMeanwhile(), port).read()
            assert "ended" == caught.value.reason


@contextmanager
def engine(folder: Path) -> Iterator[tuple[Tree, EndpointConfig]]:
    with running(folder, engine_trees.vllm(SGLANG_PAGE)) as tree:
        yield tree, EndpointConfig(url=f"http://localhost:{tree.port('api')}/metrics", gpus=(0,))


async def test_configured_endpoint(tmp_path: Path) -> None:
    """An endpoint on loopback is called after the unit of the process that listens there."""
    with engine(tmp_path / "engine") as (tree, config):
        add_process(tmp_path / "proc", tree.pid("root"), "0::/system.slice/chat.service")
        (endpoint,) = configured_endpoints(AgentConfig(engines=EnginesConfig(endpoints=(config,))))
        identifier = Identifier(tmp_path / "proc")
        poller = build_poller(endpoint, 5.0, port_owners(), identifier, WorkloadNames(), SystemClock())
        await poller.poll()

        (sample,) = poller.drain((info(0),))
        assert ("chat.service", "chat.service") == (sample.info.workload, sample.info.systemd_unit)
        assert sample.counts is not None
        assert started(tree.pid("root")) == sample.counts.process_start_unix_seconds
