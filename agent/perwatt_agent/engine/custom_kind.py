"""Custom engine: a row of the catalog that comes from the configuration."""

import re
from typing import Annotated

from msgspec import Struct
from msgspec.structs import replace

from perwatt_agent.configfile.settings import Key, settings_of
from perwatt_agent.configfile.value_kinds import Kind, matching
from perwatt_agent.engine.kind import EngineKind, Labels, Pick, Role
from perwatt_agent.engine.launch import Launch

_LABEL = r'[a-zA-Z_]\w*="[^"\\]*"'
_SERIES = rf"([a-zA-Z_:][\w:]*)(?:\{{({_LABEL}(?:,\s*{_LABEL})*)\}})?"
_PAIR = r'(\w+)="([^"]*)"'


def _read_series(text: str) -> str:
    if not re.fullmatch(_SERIES, text):
        raise ValueError('a metric as `name` or `name{label="value|other"}`')
    return text


def _read_program(text: str) -> str:
    try:
        if re.compile(text).match(""):
            raise ValueError("it matches every program")
    except (re.error, ValueError) as error:
        raise ValueError(f"a regular expression for how a program's command line begins ({error})") from None
    return text


def _read_port(text: str) -> int:
    if not re.fullmatch(r"[1-9]\d{0,4}", text) or int(text) > 65535:
        raise ValueError("a port from 1 to 65535")
    return int(text)


SERIES = Kind(_read_series)
PROGRAM = Kind(_read_program)
PORT = Kind(_read_port)
URL_PATH = matching(r"/[!-~]*", "a path such as /metrics")
METRIC = matching(r"[a-zA-Z_:][\w:]*", "a metric's name")
ENGINE_NAME = matching(r"[a-z][a-z0-9._-]{0,39}", "a name of small letters, digits, dots, - and _")
LABEL = matching(r"[a-zA-Z_]\w*", "a label's name")

Picks = tuple[str, ...]


class CustomKind(Struct, frozen=True):
    """
    One entry of `engines.kinds`: for each role, the metrics that play it, the oldest name last.

    `EngineKind` defines the roles. With `process`, discovery finds the engine: the command line of a process
    on a GPU, or of a process that launched it, must begin so, without folder and interpreter.
    """

    name: Annotated[str, Key("name of the engine, for `engine` and in figures", ENGINE_NAME)]
    recognised_by: Annotated[
        Picks, Key("metrics that only this engine has; one on the page is enough", METRIC)
    ] = ()
    process: Annotated[
        str | None,
        Key("start of its command line, a regular expression, by which discovery finds it", PROGRAM),
    ] = None
    port: Annotated[int | None, Key("port of its page, if its command line has no `--port`", PORT)] = None
    path: Annotated[str, Key("path of its page, for discovery", URL_PATH)] = "/metrics"
    model_label: Annotated[str, Key("label with the name of the model", LABEL)] = "model_name"
    rank_labels: Annotated[Picks, Key("labels that distinguish replicas", LABEL)] = ()
    mirror_labels: Annotated[
        Picks, Key("labels of ranks that do the same work; only the lowest rank counts", LABEL)
    ] = ()
    output_tokens: Annotated[Picks, Key("generated tokens", SERIES)] = ()
    finished_output_tokens: Annotated[Picks, Key("generated tokens of finished requests", SERIES)] = ()
    prompt_tokens: Annotated[Picks, Key("all prompt tokens", SERIES)] = ()
    prompt_computed: Annotated[Picks, Key("prompt tokens that were computed", SERIES)] = ()
    prompt_cached: Annotated[Picks, Key("prompt tokens from the cache", SERIES)] = ()
    requests_ok: Annotated[Picks, Key("requests that ended by stop or length", SERIES)] = ()
    requests_ended: Annotated[Picks, Key("requests that ended in any way", SERIES)] = ()
    requests_aborted: Annotated[Picks, Key("requests that were aborted", SERIES)] = ()
    requests_failed: Annotated[Picks, Key("requests that failed", SERIES)] = ()
    aborted_tokens: Annotated[Picks, Key("output tokens of aborted requests", SERIES)] = ()
    failed_tokens: Annotated[Picks, Key("output tokens of failed requests", SERIES)] = ()
    recomputed_tokens: Annotated[Picks, Key("tokens that were computed again", SERIES)] = ()
    draft_tokens: Annotated[Picks, Key("draft tokens of speculative decoding", SERIES)] = ()
    accepted_draft_tokens: Annotated[Picks, Key("draft tokens that were accepted", SERIES)] = ()
    time_to_first_token: Annotated[
        Picks, Key("histogram of seconds to the first token, without `_bucket`", SERIES)
    ] = ()
    time_per_output_token: Annotated[
        Picks, Key("histogram of mean seconds per output token of a request", SERIES)
    ] = ()
    inter_token_latency: Annotated[Picks, Key("histogram of seconds between two tokens", SERIES)] = ()
    preemptions: Annotated[Picks, Key("preempted requests", SERIES)] = ()
    running: Annotated[Picks, Key("running requests", SERIES)] = ()
    waiting: Annotated[Picks, Key("waiting requests", SERIES)] = ()
    kv_cache_usage: Annotated[Picks, Key("usage of the KV cache, from 0 to 1", SERIES)] = ()
    process_start: Annotated[Picks, Key("start time of the process, in Unix seconds", SERIES)] = ()


_ROLES = tuple(setting.name for setting in settings_of(CustomKind) if setting.kind is SERIES)


def custom_kind(config: CustomKind) -> EngineKind:
    """Return the catalog row for *config*. Its counters are assumed to move when a request ends."""
    row = EngineKind(
        name=config.name,
        title=config.name,
        known_from="configuration",
        counts_at="request_end",
        port=config.port or 0,
        paths=(config.path,),
        model_label=config.model_label,
        rank_labels=config.rank_labels,
        mirror_labels=config.mirror_labels,
        recognised_by=frozenset(config.recognised_by),
        launch=_launch(config),
    )
    return replace(row, **{role: _role(getattr(config, role)) for role in _ROLES})


def _launch(config: CustomKind) -> Launch | None:
    if config.process is None:
        return None
    return Launch(serves=config.process, default_port=config.port)


def _role(texts: Picks) -> Role:
    return tuple(_pick(text) for text in texts)


def _pick(text: str) -> Pick:
    match = re.fullmatch(_SERIES, text)
    assert match is not None, "the configuration accepts only valid series"
    return Pick(match[1], _labels(match[2] or ""))


def _labels(text: str) -> Labels:
    return tuple((label, frozenset(values.split("|"))) for label, values in re.findall(_PAIR, text))
