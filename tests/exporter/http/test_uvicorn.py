"""What is used of uvicorn beyond its documented API. It is pinned to a minor version for this."""

import inspect
from importlib.metadata import version

import pytest
from uvicorn.config import Config
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol, RequestResponseCycle
from uvicorn.server import Server, ServerState

MINOR_VERSION = "0.54"

# http/connection.py calls or overrides the methods of a connection, and reads what its cycle keeps.
# http/server.py overrides the methods of a server, and reads its state.
METHODS = {
    HttpToolsProtocol: {
        *("connection_made", "connection_lost", "data_received", "send_400_response", "shutdown"),
        *("on_message_begin", "on_url", "on_header", "on_headers_complete", "on_message_complete"),
        *("on_response_complete", "_unset_keepalive_if_required", "_start_asgi_task"),
    },
    Server: {"serve", "main_loop", "capture_signals", "shutdown"},
}
ATTRIBUTES = {
    HttpToolsProtocol: {
        *("loop", "parser", "transport", "connections", "scope", "cycle", "timeout_keep_alive_task"),
        *("pipeline", "config", "limit_concurrency"),
    },
    RequestResponseCycle: {"scope", "keep_alive", "response_complete", "more_body", "disconnected"},
    Server: {"config", "server_state"},
    ServerState: {"connections", "tasks"},
}
SETTINGS = {
    *("app", "http", "ws", "interface", "log_config", "log_level", "access_log", "proxy_headers"),
    *("server_header", "date_header", "workers", "limit_concurrency", "timeout_keep_alive"),
}
EXPLANATION = "uvicorn changed: read its new source beside exporter/perwatt_exporter/http, then raise the pin"


def test_minor_version() -> None:
    """The installed uvicorn is the one that connection.py and server.py were written for."""
    assert MINOR_VERSION == version("uvicorn").rpartition(".")[0], EXPLANATION


@pytest.mark.parametrize("used", METHODS, ids=lambda used: used.__name__)
def test_methods(used: type) -> None:
    """Each method that is called or overridden is there."""
    assert set() == {name for name in METHODS[used] if not callable(getattr(used, name, None))}, EXPLANATION


@pytest.mark.parametrize("used", ATTRIBUTES, ids=lambda used: used.__name__)
def test_attributes(used: type) -> None:
    """Each attribute that is read is set when an object is made."""
    made = set(inspect.unwrap(used.__init__).__code__.co_names)  # type: ignore[misc]  # of a class

    assert set() == ATTRIBUTES[used] - made, EXPLANATION


def test_settings() -> None:
    """Each setting that the server is configured by is known."""
    assert set() == SETTINGS - inspect.signature(Config).parameters.keys(), EXPLANATION


def test_status_lines() -> None:
    """Status lines are ready bytes by status: a repeated request is answered with one."""
    assert b"HTTP/1.1 200 OK\r\n" == STATUS_LINE[200], EXPLANATION
