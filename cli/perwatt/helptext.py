"""What `--help` teaches: what each command is for, with examples."""

from msgspec import Struct


class HelpText(Struct, frozen=True):
    """The words of one command: what follows its name, a line for the list, a paragraph, examples."""

    usage: str
    summary: str
    description: str
    examples: str


PERWATT = """\
How many useful tokens does each joule buy: at the board, at the wall, and for the
whole facility?

An agent measures one GPU server and shows it to Prometheus; an aggregator joins the
tokens of the engines with the joules of the GPUs and answers over HTTP."""

PERWATT_EPILOG = """\
examples:
  perwatt up                                          this machine, all in one
  perwatt doctor                                      what can be measured here?
  perwatt query efficiency --window 60s --by model    the answer, as a table

exit codes:
  0  done; for query also when the figures are not valid (the answer says so)
  1  it could not be done; standard error says what to do about it
  2  the command line is wrong

`perwatt COMMAND --help` tells more of each."""

_FILE_NOTE = """\
Flags go over the environment, and that over the file. Every key has all three;
the variable stands in brackets."""

COMMANDS = {
    "up": HelpText(
        "[FLAGS]",
        "measure this machine and show the answer, all in one",
        "Agent, aggregator and page in one process. Without an NVIDIA driver the GPUs are\n"
        "simulated, and every figure says so. Ctrl-C ends it.\n\n" + _FILE_NOTE,
        "  perwatt up\n"
        "  perwatt up --engine url=http://127.0.0.1:8000/metrics,workload=chat\n"
        "  perwatt up --backend simulated --facility.pue.ratio 1.25",
    ),
    "agent": HelpText(
        "[FLAGS]",
        "measure one GPU server and serve its page",
        "The daemon of a GPU server. Its page is at http://HOST:9836/metrics, for Prometheus\n"
        "and for the aggregator.\n\n" + _FILE_NOTE,
        "  perwatt agent --config /etc/perwatt/agent.yaml\n"
        "  perwatt agent --sample-interval 500ms --web.listen-address 127.0.0.1:9836\n"
        "  perwatt agent --engine url=http://127.0.0.1:8000/metrics,workload=chat,gpus=0+1",
    ),
    "aggregator": HelpText(
        "[FLAGS]",
        "join the tokens and joules of all agents, and answer",
        "The daemon of a fleet. It asks every agent and answers at http://HOST:9837.\n\n" + _FILE_NOTE,
        "  perwatt aggregator --config /etc/perwatt/aggregator.yaml\n"
        "  perwatt aggregator --agent http://gpu1:9836/metrics --agent http://gpu2:9836/metrics\n"
        "  perwatt aggregator --facility.pue.ratio 1.25 --facility.node-overhead.ratio 1.8",
    ),
    "query": HelpText(
        "efficiency|ledger|compute|facility|nodes|gpus|workloads [FLAGS]",
        "ask an aggregator, or a recording, and print the answer",
        "Prints a table, or JSON with --json. A figure comes with its boundary, window, coverage\n"
        "and provenance; one that cannot be trusted says why. What cannot be had is `-`.",
        "  perwatt query efficiency --window 60s --by model\n"
        "  perwatt query ledger --window 5m --by facility\n"
        "  perwatt query compute --by node\n"
        "  perwatt query nodes --url http://aggregator:9837 --json\n"
        "  perwatt query efficiency --recording run.jsonl --from 2026-11-21T10:00:00Z --pue 1.25",
    ),
    "check-config": HelpText(
        "FILE",
        "say whether a configuration file is sound",
        "Tells an agent's file from an aggregator's by its keys. Exits 0 when it is sound, else 1\n"
        "with a line `FILE:LINE: key: what was expected` for each error.",
        "  perwatt check-config /etc/perwatt/agent.yaml",
    ),
    "doctor": HelpText(
        "[FLAGS]",
        "say what this machine can measure, and what is missing",
        "Looks at Python, the driver, each GPU, the ports, the engines. Each line is ok, missing\n"
        "or a hint, with the least that cures it. Exits 0 when `perwatt agent` could start here\n"
        "with the same flags.\n\n" + _FILE_NOTE,
        "  perwatt doctor\n  perwatt doctor --config /etc/perwatt/agent.yaml",
    ),
    "record": HelpText(
        "--output FILE [FLAGS]",
        "write a node's readings to a file",
        "Records what the agent would measure, until Ctrl-C, for `query --recording` and for\n"
        "`--backend replay:FILE`. A recording that was cut is refused when it is read.\n\n" + _FILE_NOTE,
        "  perwatt record --output run.jsonl\n  perwatt up --backend replay:run.jsonl --replay.speed max",
    ),
}
