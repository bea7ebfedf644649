"""Command line: the parser, one command run, its exit code."""

import argparse
import os
import sys
from collections.abc import Sequence
from typing import NoReturn

from perwatt.commands import COMMANDS
from perwatt.errors import CommandError
from perwatt.helptext import COMMANDS as HELP
from perwatt.helptext import PERWATT, PERWATT_EPILOG
from perwatt_agent import __version__
from perwatt_agent.configfile.layers import ConfigError
from perwatt_agent.configfile.printable import escaped, without_secrets

FAILED = 1
USAGE = 2
INTERRUPTED = 130  # 128 + SIGINT, as every shell expects

_HELP = argparse.RawDescriptionHelpFormatter


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code: 2 for a wrong command line, 1 for any other error."""
    try:
        given = sys.argv[1:] if argv is None else argv
        arguments = build_parser(given).parse_args(given)
    except SystemExit as end:  # help or a usage error, already printed
        return int(end.code or 0)
    return _run(arguments)


def _run(arguments: argparse.Namespace) -> int:
    try:
        code = COMMANDS[arguments.command].run(arguments)
        sys.stdout.flush()
        return code
    except SystemExit as end:
        return int(end.code or 0)
    except ConfigError as error:
        print("\n".join(map(_shown, error.lines)), file=sys.stderr)
        return USAGE if error.usage else FAILED
    except BrokenPipeError:
        # The reader of the pipe is gone: leave Python nothing to flush at exit, or it prints a traceback.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return FAILED
    except (CommandError, OSError) as error:
        print(f"perwatt {arguments.command}: {_shown(str(error))}", file=sys.stderr)
        return FAILED
    except KeyboardInterrupt:
        return INTERRUPTED


class _Parser(argparse.ArgumentParser):
    """Parser with one-line errors, help texts that keep their lines, and no abbreviations."""

    def __init__(self, prog: str, usage: str, description: str, epilog: str) -> None:
        usage = f"{prog} {usage}"
        super().__init__(prog, usage, description, epilog, formatter_class=_HELP, allow_abbrev=False)

    def error(self, message: str) -> NoReturn:
        self.exit(USAGE, f"{self.prog}: {_shown(message)}; see `{self.prog} --help`\n")


def _shown(message: str) -> str:
    """A message as it may be printed: it may repeat what others named, and what a user mistyped."""
    return escaped(without_secrets(message))


def build_parser(given: Sequence[str] = tuple(COMMANDS)) -> argparse.ArgumentParser:
    """
    Parser of every command, with the flags of those whose names are among the *given* arguments.

    The agent starts on many nodes at once: it does not wait for the flags of the others, nor load what
    these are made of. Nothing heavy is imported before a command runs.
    """
    parser = _Parser("perwatt", "COMMAND [FLAGS]", PERWATT, PERWATT_EPILOG)
    parser.add_argument("--version", action="version", version=f"perwatt {__version__}")
    choices = parser.add_subparsers(
        title="commands", metavar="COMMAND", required=True, dest="command", prog="perwatt"
    )
    for name, command in COMMANDS.items():
        text = HELP[name]
        description = f"{text.summary[0].upper()}{text.summary[1:]}.\n\n{text.description}"
        epilog = f"examples:\n{text.examples}"
        inner = choices.add_parser(
            name, help=text.summary, usage=text.usage, description=description, epilog=epilog
        )
        inner.set_defaults(refuse=inner.error)
        if name in given:
            command.add_arguments(inner)
    return parser


if __name__ == "__main__":
    sys.exit(main())
