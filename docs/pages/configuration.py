"""The reference of all configuration keys, made from the structs that read them."""

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

The agent and the aggregator each read one YAML file, the environment and flags. **Flags go over the
environment, and that over the file**; what none of them says has the default below. Every key that holds a
single value can be given in all three ways: `web.listen_address` in the file is
`PERWATT_WEB_LISTEN_ADDRESS` and `--web.listen-address`.

    perwatt agent --config agent.yaml
    perwatt check-config agent.yaml

- A file is read strictly. An unknown key, a key given twice, a duration without its unit are errors, each
  told as `FILE:LINE: key: what was expected`, all at once, with exit code 1. A wrong flag exits with 2.
- Durations have a unit: `250ms`, `1s`, `5m`, `1h`. Booleans are `true` and `false`. `null` leaves the
  default.
- Lists have repeatable flags, which replace the list of the file as a whole; `--calibration` goes over single
  entries. An empty variable counts as none, and unknown `PERWATT_` variables are let be, for Kubernetes sets
  some for every service of that name.
- Engines are found by their processes on the GPUs, unless `engines.discover` is `false`; docs/discovery.md
  says how. What is named under `engines.endpoints` or with `--engine` goes before: its page and its GPUs are
  left alone, so an endpoint for `gpus: all` that is not `shared` leaves nothing to be found.
- A GPU that two endpoints claim needs `shared: true` on both. That an index and a UUID name the same GPU
  shows only when the driver answers: then the first of them has it, the other goes without its joules, and
  the log and `perwatt doctor` say so.
- A follower, a node that holds GPUs of a multi-node engine whose page is served elsewhere, has a `group` and
  no `url`; in this release its joules stay unattributed. A router holds no GPU: `gpus: []`.
- An engine that perwatt does not know is described under `engines.kinds`, in the file alone: for each role
  the names of its metric, the first that is on the page being read. A name may filter by labels, each with
  one or several values: `output_tokens: ['my_tokens_total{phase="decode|verify"}']`. Its counts are taken to
  move when a request ends, and it is recognised before the engines that perwatt knows, which
  `docs/engines.md` lists. With `process` it is found by itself, as the engines that perwatt knows are:
  `process: my-server serve` stands for every process whose command line begins so, without its folder and its
  interpreter, and whose page is on loopback at the port that its `--port` names, else at `port`.
- A `calibration` ratio multiplies the joules of one GPU in rules and in the aggregator, never its counter.
- In `perwatt up` the aggregator's address is `--aggregator.web.listen-address` and
  `PERWATT_AGGREGATOR_WEB_LISTEN_ADDRESS`, its file `--aggregator.config`; it asks the agent beside it only.
- No secret stands in a file, a flag or a variable: `bearer_token_file` and `credentials_file` name files that
  hold it. Those of meters must not be readable by everybody.
- Meters of the machine are found, unless `meters.discover` is `false`; docs/meters.md says how, and how to
  name others under `meters.list`.
"""


def document() -> str:
    """The page docs/configuration.md: the rules, then every key with flag, variable, default and meaning."""
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
    """What a key of a list's element means; a section says it in its own words."""
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
