"""Reference of all configuration keys, made from the structs that read them."""

from collections.abc import Iterator, Sequence

from msgspec import Struct

from perwatt.logs import LogOptions
from perwatt.options import FORMS, default_text
from perwatt_agent.config import AgentConfig
from perwatt_agent.configfile.settings import Setting, flag_name, settings_of, variable_name, walk
from perwatt_aggregator.config import AggregatorConfig

PROSE = """\
# Configuration

<!-- Generated from the configuration structs by `make docs`; do not edit. -->

The agent and the aggregator each read a YAML file, environment variables and flags. **A flag overrides the
variable, and the variable overrides the file**; a key that none of them sets has the default below. Every
key with a single value can be set in all three ways: `web.listen_address` in the file is
`PERWATT_WEB_LISTEN_ADDRESS` and `--web.listen-address`.

    perwatt agent --config agent.yaml
    perwatt check-config agent.yaml

- A file is read strictly. An unknown key, a repeated key, or a duration without a unit is an error. All
  errors are printed at once, as `FILE:LINE: key: what was expected`, with exit code 1. A wrong flag exits
  with 2.
- Durations have a unit: `250ms`, `1s`, `5m`, `1h`. Booleans are `true` and `false`. `null` means the
  default.
- A list has a repeatable flag, which replaces the whole list of the file. Only `--calibration` replaces
  single entries. An empty variable counts as not set. Unknown `PERWATT_` variables are ignored, since
  Kubernetes sets some for every service of that name.
- Engines are discovered by their processes on the GPUs, unless `engines.discover` is `false`
  ([discovery](discovery.md)). Configured engines (`engines.endpoints`, `--engine`) take precedence over
  discovery. An unshared endpoint with `gpus: all` therefore disables discovery on that node.
- If two endpoints claim one GPU, both need `shared: true`. Whether an index and a UUID name the same GPU is
  known only when the driver answers. Then the first endpoint gets the GPU and the second gets none of its
  joules; the log and `perwatt doctor` report it.
- A follower is a node that holds GPUs of a multi-node engine whose page is on another node. It has a
  `group` and no `url`; its joules count for the group. A router holds no GPU: `gpus: []`.
- Describe an engine that perwatt does not know under `engines.kinds`, in the file only. For each role, list
  the metrics that may have it; the first one on the page is read. A metric may filter by labels, each with
  one or several values: `output_tokens: ['my_tokens_total{phase="decode|verify"}']`. perwatt assumes that
  its counts move when a request ends. Such an engine is recognised before the known ones, which
  [engines](engines.md) lists. With `process`, discovery finds it too: `process: my-server serve` matches
  every process whose command line starts with these words, ignoring folder and interpreter. Its page must
  be on loopback, at the port that its `--port` names, or else at `port`.
- A `calibration` ratio multiplies the joules of one GPU in recording rules and in the aggregator. It never
  changes the GPU's counter.
- In `perwatt up` the aggregator's address is `--aggregator.web.listen-address` or
  `PERWATT_AGGREGATOR_WEB_LISTEN_ADDRESS`, its folder `--aggregator.data-dir` or
  `PERWATT_AGGREGATOR_DATA_DIR`, and its file is `--aggregator.config`. It scrapes only its own agent.
- No secret is ever in a file, a flag or a variable: `bearer_token_file` and `credentials_file` name files
  that hold it. The files of meters must not be readable by everybody.
- The agents of a fleet are listed, or discovered from files, URLs and DNS ([targets](targets.md)); or
  their readings come from a Prometheus that scrapes them ([prometheus](prometheus.md)).
- Meters of the machine are discovered, unless `meters.discover` is `false`. [Meters](meters.md) explains
  how, and how to add others under `meters.list`.
"""


def document() -> str:
    """Text of docs/configuration.md: the rules, then every key with flag, variable, default and meaning."""
    chapters = (
        PROSE.rstrip(),
        *_chapter("The agent", AgentConfig),
        *_chapter("The aggregator", AggregatorConfig),
        *_chapter("Logging of both (not in the files)", LogOptions),
    )
    return "\n\n".join(chapters) + "\n"


def _chapter(title: str, config: type[Struct]) -> Iterator[str]:
    yield f"## {title}"
    yield _table(("key", "flag", "variable", "default", "meaning"), [_row(*row) for row in walk(config)])
    for path, setting in walk(config):
        if setting.section is not None:
            yield f"### Each of `{path}`"
            inner = settings_of(setting.section)
            rows = [(_code(each.name), _code(default_text(each)), _meaning(each)) for each in inner]
            yield _table(("key", "default", "meaning"), rows)


def _meaning(setting: Setting) -> str:
    """Meaning of a key of a list's element; that of a section is its struct's docstring."""
    words = (setting.section.__doc__ or "").strip() if setting.section else ""
    return setting.help or words.partition("\n")[0]


def _row(path: str, setting: Setting) -> tuple[str, ...]:
    if setting.shape == "scalar":
        flag, variable = flag_name(path), variable_name(path)
    else:
        flag, variable = f"--{setting.flag} {FORMS[setting.flag]}" if setting.flag else "", ""
    default = "required in its section" if setting.required else _code(default_text(setting))
    return _code(path), _code(flag), _code(variable), default, setting.help


def _code(text: str) -> str:
    return f"`{text}`" if text else ""


def _table(header: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> str:
    lines = [header, tuple("---" for _ in header), *rows]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)
