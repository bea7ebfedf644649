"""The command line: help that teaches, flags that reach the configuration, exit codes."""

import subprocess
import sys
from pathlib import Path

import pytest

from perwatt import options
from perwatt.commands import COMMANDS
from perwatt.main import build_parser, main
from perwatt_agent.config import AgentConfig, EndpointConfig
from perwatt_agent.configfile.settings import flag_name, walk
from perwatt_aggregator.config import AggregatorConfig
from perwatt_aggregator.facility.config import PueConfig


class TestHelp:
    def test_names_every_command_and_exit_code(self, capsys: pytest.CaptureFixture[str]) -> None:
        """The first help explains what perwatt is, its commands and its exit codes."""
        assert 0 == main(["--help"])

        text = capsys.readouterr().out
        assert "useful tokens" in text
        assert set(COMMANDS) <= set(text.split())
        assert "exit codes:\n  0  done" in text

    @pytest.mark.parametrize("command", COMMANDS)
    def test_each_command_gives_examples(self, capsys: pytest.CaptureFixture[str], command: str) -> None:
        """Each command's help has a usage line of one line, and examples that its own parser accepts."""
        assert 0 == main([command, "--help"])

        lines = capsys.readouterr().out.splitlines()
        assert lines[0].startswith(f"usage: perwatt {command} ")
        assert "" == lines[1]
        examples = [line.split() for line in lines[lines.index("examples:") + 1 :]]
        assert examples
        for program, *arguments in examples:
            assert "perwatt" == program
            build_parser().parse_args(arguments)

    @pytest.mark.parametrize(
        ("command", "config"), [("agent", AgentConfig), ("aggregator", AggregatorConfig)]
    )
    def test_every_key_has_a_flag(
        self, capsys: pytest.CaptureFixture[str], command: str, config: type[AgentConfig]
    ) -> None:
        """No key is left out of a daemon's help, but lists that only a file can hold."""
        main([command, "--help"])

        shown = set(capsys.readouterr().out.split())
        keys = [(path, key) for path, key in walk(config) if key.flag or key.shape != "sections"]
        assert {f"--{key.flag}" if key.flag else flag_name(path) for path, key in keys} <= shown

    def test_version(self, capsys: pytest.CaptureFixture[str]) -> None:
        """`--version` is one line."""
        assert 0 == main(["--version"])
        assert "perwatt 0.1.0\n" == capsys.readouterr().out

    def test_help_loads_nothing_heavy(self) -> None:
        """Neither help nor a daemon's arguments load a server, a driver's binding or a client."""
        heavy = {
            "fastapi",
            "pydantic",
            "aiohttp",
            "uvicorn",
            "pynvml",
            "psutil",
            "prometheus_client",
            "asyncio",
        }
        program = (
            "import sys; from perwatt.main import main; main(['agent', '--help']); "
            f"print(sorted(set(sys.modules) & {heavy!r}))"
        )

        result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)

        assert "[]" == result.stdout.splitlines()[-1]


class TestExitCodes:
    @pytest.mark.parametrize(
        ("arguments", "said"),
        [
            ([], "perwatt: the following arguments are required: COMMAND; see `perwatt --help`"),
            (["agent", "--bogus"], "perwatt: unrecognized arguments: --bogus; see `perwatt --help`"),
            (["record"], "perwatt record: the following arguments are required: --output"),
            (
                ["agent", "--backend", "x"],
                "--backend: backend: expected nvml, simulated or replay:FILE, not 'x'",
            ),
            (["agent", "--log.level", "loud"], "--log.level: log.level: expected one of debug, info,"),
            (["query", "everything"], "perwatt query: argument topic: invalid choice: 'everything'"),
            (
                ["query", "gpus", "--by", "model"],
                "perwatt query: --by works only with `query efficiency`, `query ledger`",
            ),
            (["query", "efficiency", "--pue", "1.2"], "perwatt query: --pue works only with --recording"),
            (
                ["query", "efficiency", "--by", "model,"],
                "perwatt query: argument --by: expected names separated by commas, not 'model,'",
            ),
            (
                ["query", "efficiency", "--window", "60"],
                "perwatt query: argument --window: expected a duration",
            ),
            (
                ["query", "efficiency", "--recording", "f", "--window", "60s"],
                "perwatt query: --window does not work with --recording",
            ),
            (
                ["query", "efficiency", "--recording", "f", "--from", "monday"],
                "perwatt query: argument --from: expected an RFC 3339 time",
            ),
        ],
    )
    def test_usage_errors(self, capsys: pytest.CaptureFixture[str], arguments: list[str], said: str) -> None:
        """What is wrong with the command line is one line, and 2."""
        assert 2 == main(arguments)

        printed = capsys.readouterr()
        assert printed.err.startswith(said)
        assert ("", 1) == (printed.out, printed.err.count("\n"))

    def test_other_errors(self, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
        """A configuration that cannot be used is one line for each error, and 1."""
        path = tmp_path / "agent.yaml"
        path.write_text("bakend: nvml\nsample_interval: 1\n")

        assert 1 == main(["agent", "--config", str(path)])

        lines = capsys.readouterr().err.splitlines()
        assert [f"{path}:1: bakend: unknown key, expected backend", f"{path}:2: sample_interval: "] == [
            lines[0],
            lines[1][: lines[1].index("expected")],
        ]

    def test_a_reader_that_goes_away(self) -> None:
        """`perwatt ... | head` ends without a traceback."""
        program = "from perwatt.main import main; import sys; sys.exit(main(['check-config', '/dev/null']))"

        process = subprocess.Popen(
            [sys.executable, "-c", program], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.close()
        said = process.stderr.read()
        process.stderr.close()

        assert (1, "") == (process.wait(), said)


class TestCheckConfig:
    @pytest.mark.parametrize(
        ("text", "whose"),
        [
            ("backend: simulated\n", "agent"),
            ("web: {listen_address: ':1'}\nscrape_interval: 5s\n", "aggregator"),
        ],
    )
    def test_sound(self, capsys: pytest.CaptureFixture[str], tmp_path: Path, text: str, whose: str) -> None:
        """A valid file is one line with the name of its daemon."""
        path = tmp_path / "file.yaml"
        path.write_text(text)

        assert 0 == main(["check-config", str(path)])
        assert f"{path}: valid configuration of the {whose}\n" == capsys.readouterr().out

    @pytest.mark.parametrize(
        ("text", "said"),
        [
            ("\nsampling: 1s\n", "2: sampling: unknown key, expected sample_interval"),
            (
                "facility: {pue: {ratio: 0.5}}\n",
                "1: facility.pue.ratio: expected a number from 1 to 10, not '0.5'",
            ),
        ],
    )
    def test_unsound(self, capsys: pytest.CaptureFixture[str], tmp_path: Path, text: str, said: str) -> None:
        """Each error is a line on standard error, and the exit code 1."""
        path = tmp_path / "file.yaml"
        path.write_text(text)

        assert 1 == main(["check-config", str(path)])
        assert f"{path}:{said}\n" == capsys.readouterr().err

    def test_absent(self, capsys: pytest.CaptureFixture[str]) -> None:
        """A file that is not there is one line too."""
        assert 1 == main(["check-config", "absent.yaml"])
        assert "absent.yaml: cannot be read: No such file or directory\n" == capsys.readouterr().err


class TestConfigurations:
    def test_flags_over_environment_over_file(self, tmp_path: Path) -> None:
        """A flag wins over the environment, and that over the file."""
        path = tmp_path / "agent.yaml"
        path.write_text("sample_interval: 2s\nstate_dir: /a\nbackend: simulated\n")
        environ = {"PERWATT_STATE_DIR": "/b", "PERWATT_SAMPLE_INTERVAL": "3s"}
        arguments = build_parser().parse_args(
            ["agent", "--config", str(path), "--sample-interval", "4s", "--engine", "url=http://a,gpus=0"]
            + ["--engine", "url=http://b,gpus=1", "--calibration", "GPU-a=1.01"]
        )

        config = options.agent_config(arguments, environ)

        assert (4.0, Path("/b"), "simulated") == (config.sample_interval, config.state_dir, config.backend)
        assert (EndpointConfig("http://a", gpus=(0,)), EndpointConfig("http://b", gpus=(1,))) == (
            config.engines.endpoints
        )
        assert {"GPU-a": 1.01} == config.calibration

    def test_up_keeps_the_two_addresses_apart(self, tmp_path: Path) -> None:
        """In one process each daemon has its own address, by flag, by variable and by file."""
        path = tmp_path / "aggregator.yaml"
        path.write_text("facility: {pue: {ratio: 1.5}}\n")
        environ = {"PERWATT_WEB_LISTEN_ADDRESS": ":1", "PERWATT_AGGREGATOR_WEB_LISTEN_ADDRESS": ":2"}
        by_variable = build_parser().parse_args(["up", "--aggregator.config", str(path)])
        by_flag = build_parser().parse_args(
            ["up", "--web.listen-address", ":3", "--aggregator.web.listen-address", ":4"]
        )

        aggregator = options.aggregator_config(by_variable, environ, in_up=True)

        assert ":1" == options.agent_config(by_variable, environ).web.listen_address
        assert (":2", PueConfig(1.5)) == (aggregator.web.listen_address, aggregator.facility.pue)
        assert ":3" == options.agent_config(by_flag, environ).web.listen_address
        assert ":4" == options.aggregator_config(by_flag, environ, in_up=True).web.listen_address

    @pytest.mark.parametrize(
        ("expected", "text"),
        [
            (1795255200.0, "2026-11-21T10:00:00Z"),
            (1795255200.1, "2026-11-21T10:00:00.1Z"),
            (1795248000.25, "2026-11-21 10:00:00.25+02:00"),
            (1795255200.5, "1795255200.5"),
        ],
    )
    def test_instants(self, expected: float, text: str) -> None:
        """A time is RFC 3339, with any fraction and offset, or Unix seconds."""
        arguments = build_parser().parse_args(["query", "efficiency", "--recording", "f", "--to", text])

        assert expected == pytest.approx(arguments.to, abs=1e-6)
