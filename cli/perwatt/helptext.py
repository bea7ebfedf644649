"""Help texts of the command line: what each command is for, with examples."""

from msgspec import Struct


class HelpText(Struct, frozen=True):
    """Texts of one command: its arguments, one line for the list of commands, a paragraph, examples."""

    usage: str
    summary: str
    description: str
    examples: str


PERWATT = """\
perwatt measures how many useful tokens each joule buys: at the GPU boards, at the
wall, and for the whole facility.

An agent on each GPU server measures energy and work, and serves Prometheus metrics.
An aggregator divides the tokens of the engines by the joules of the GPUs, and answers
over HTTP."""

PERWATT_EPILOG = """\
first steps:
  perwatt up                                          try it here, all in one process
  perwatt doctor                                      what can this machine measure?
  perwatt query efficiency --window 60s --by model    tokens per joule, as a table

exit codes:
  0  done; for query also when figures are not valid (the answer says why)
  1  failed; standard error says what to do about it
  2  wrong command line

`perwatt COMMAND --help` explains each command and its flags."""

_PRECEDENCE = """\
Every setting can be a key in the file, an environment variable, or a flag. A flag
overrides the variable, and the variable overrides the file. The help of each flag
names its variable in brackets."""

COMMANDS = {
    "up": HelpText(
        "[FLAGS]",
        "measure this machine and show the result, all in one process",
        "Runs the agent, the aggregator and its web page, and prints a status line. Without an\n"
        "NVIDIA driver it simulates GPUs, and every figure is marked as simulated. Stop it\n"
        "with Ctrl-C.\n\n" + _PRECEDENCE,
        "  perwatt up\n"
        "  perwatt up --engine url=http://127.0.0.1:8000/metrics,workload=chat\n"
        "  perwatt up --backend simulated --facility.pue.ratio 1.25",
    ),
    "agent": HelpText(
        "[FLAGS]",
        "measure this GPU server and serve its metrics",
        "The daemon of a GPU server. Prometheus and the aggregator read its metrics at\n"
        "http://HOST:9836/metrics.\n\n" + _PRECEDENCE,
        "  perwatt agent --config /etc/perwatt/agent.yaml\n"
        "  perwatt agent --sample-interval 500ms --web.listen-address 127.0.0.1:9836\n"
        "  perwatt agent --engine url=http://127.0.0.1:8000/metrics,workload=chat,gpus=0+1",
    ),
    "aggregator": HelpText(
        "[FLAGS]",
        "join tokens and joules of all agents and answer over HTTP",
        "The daemon of a fleet. It scrapes every agent and serves a web page and an HTTP API\n"
        "at http://HOST:9837.\n\n" + _PRECEDENCE,
        "  perwatt aggregator --config /etc/perwatt/aggregator.yaml\n"
        "  perwatt aggregator --agent http://gpu1:9836/metrics --agent http://gpu2:9836/metrics\n"
        "  perwatt aggregator --facility.pue.ratio 1.25 --facility.node-overhead.ratio 1.8",
    ),
    "query": HelpText(
        "efficiency|ledger|compute|capacity|facility|nodes|gpus|workloads [FLAGS]",
        "print figures of an aggregator or of a recording",
        "Prints a table that fits the terminal, JSON with --json, or CSV with --csv. Each\n"
        "figure has its boundary, window, coverage and provenance; a figure that is not valid\n"
        "has its reasons. A value that is not known is `-`.\n"
        "docs/glossary.md explains these words.",
        "  perwatt query efficiency --window 60s --by model\n"
        "  perwatt query ledger --window 5m --by facility\n"
        "  perwatt query compute --by node\n"
        "  perwatt query efficiency --by model,rack --where rack=r1,r2 --sort=-joules_per_token --watch\n"
        "  perwatt query capacity --kw 500 --columns model,boundary,at_budget,bound_by\n"
        "  perwatt query nodes --url http://aggregator:9837 --json\n"
        "  perwatt query efficiency --recording run.jsonl --from 2026-11-21T10:00:00Z --pue 1.25",
    ),
    "check-config": HelpText(
        "FILE",
        "validate a configuration file",
        "Recognizes the file of an agent or of an aggregator by its keys. Exits 0 when the file\n"
        "is valid; otherwise 1, with a line `FILE:LINE: key: what was expected` for each error.",
        "  perwatt check-config /etc/perwatt/agent.yaml",
    ),
    "doctor": HelpText(
        "[FLAGS]",
        "show what this machine can measure and what is missing",
        "Checks Python, the NVIDIA driver, each GPU, meters, the listen address and the engines.\n"
        "Each line is ok, missing, or a hint, with the smallest fix. Exits 0 when `perwatt agent`\n"
        "could start here with the same flags, otherwise 1.\n\n" + _PRECEDENCE,
        "  perwatt doctor\n  perwatt doctor --config /etc/perwatt/agent.yaml",
    ),
    "record": HelpText(
        "--output FILE [FLAGS]",
        "write the readings of this machine to a file",
        "Records what the agent would measure, until Ctrl-C. Use the file with\n"
        "`query --recording FILE` or `--backend replay:FILE`; a file that was cut short is\n"
        "refused.\n\n" + _PRECEDENCE,
        "  perwatt record --output run.jsonl\n"
        "  perwatt query efficiency --recording run.jsonl\n"
        "  perwatt up --backend replay:run.jsonl",
    ),
    "simulate": HelpText(
        "[--nodes N] [--gpus N] [--seed N] [FLAGS]",
        "serve the pages of a fleet that does not exist, and the truth behind them",
        "Serves one agent's page for each node: engines that start, restart and end, a day's load,\n"
        "stragglers, faults, reboots, rolling deployments and wrong clocks. Use it to try an\n"
        "aggregator, dashboards and alerts at any size. Every page is marked as simulated.\n"
        "docs/simulate.md explains what happens in the fleet.\n\n"
        "  /node/N/metrics          the page of node N\n"
        "  /targets                 all pages, for Prometheus's http_sd\n"
        "  /truth?from=&to=&by=     true tokens and joules between two Unix times",
        "  perwatt simulate --nodes 1000 --gpus 8 --seed 1\n"
        "  perwatt simulate --nodes 20 --faults many --speed 60 --file-sd targets.json",
    ),
}
