"""The agent's configuration: three layers, one struct, every error with its place."""

import math
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from perwatt_agent.config import (
    AgentConfig,
    AgentWebConfig,
    AttributionConfig,
    EndpointConfig,
    EnginesConfig,
    ReplayConfig,
    load_agent_config,
)
from perwatt_agent.configfile.layers import ConfigError
from perwatt_agent.configfile.loading import Flags
from perwatt_agent.configfile.settings import walk
from perwatt_agent.engine.catalog import engine_names

EXAMPLE = """\
backend: nvml        # nvml | simulated | replay:FILE
sample_interval: 1s
state_dir: /run/perwatt
web: {listen_address: "0.0.0.0:9836"}
engines:
  discover: true
  interval: 5s
  endpoints:
    - url: http://127.0.0.1:8000/metrics
      engine: auto     # or vllm, sglang, llamacpp, ...
      workload: chat
      model: null      # for engines that do not say
      gpus: all        # or a list of indices or UUIDs; a GPU claimed by two endpoints needs `shared: true` on both
      group: null      # members of one multi-node engine; `url` may then be absent on followers
      role: mixed
      bearer_token_file: null
      credentials_file: null
      ca_file: null
"""  # noqa: E501 - the example as it is documented

Write = Callable[[str], Path]


@pytest.fixture
def write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Write:
    """Write agent.yaml into the working directory, so that errors name it without a path."""
    monkeypatch.chdir(tmp_path)

    def write(text: str) -> Path:
        path = Path("agent.yaml")
        path.write_text(text)
        return path

    return write


def errors(
    path: Path | None, environ: Mapping[str, str] | None = None, flags: Flags | None = None
) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        load_agent_config(path, environ or {}, flags or {})
    return list(caught.value.lines)


class TestFile:
    def test_the_documented_example_loads(self, write: Write) -> None:
        """The example of the design loads verbatim and says what the defaults say, plus one endpoint."""
        chat = EndpointConfig(url="http://127.0.0.1:8000/metrics", workload="chat")

        config = load_agent_config(write(EXAMPLE), {}, {})

        assert AgentConfig(engines=EnginesConfig(endpoints=(chat,))) == config

    def test_every_key(self, write: Write) -> None:
        """What the file says of each key is what the struct holds, in base units."""
        Path("token").write_text("secret")
        Path("run.jsonl").write_text("")
        path = write(
            "backend: replay:run.jsonl\nsample_interval: 250ms\nstate_dir: state\n"
            "web: {listen_address: '[::1]:1'}\n"
            "calibration: {GPU-a: 1.02, SIM-host.example-0: 0.98}\nreplay: {speed: max}\n"
            "attribution: {idle_watts: {NVIDIA H100 80GB HBM3: 70}}\n"
            "engines:\n  discover: false\n  interval: 1m\n  endpoints:\n"
            "    - {url: https://h/m, engine: vllm, workload: 12, model: no, gpus: [0, GPU-a],\n"
            "       shared: true, group: big, role: prefill, bearer_token_file: token}\n"
        )
        endpoint = EndpointConfig(
            "https://h/m", "vllm", "12", "no", (0, "GPU-a"), True, "big", "prefill", Path("token")
        )

        config = load_agent_config(path, {}, {})

        expected = AgentConfig(
            backend="replay:run.jsonl",
            sample_interval=0.25,
            state_dir=Path("state"),
            web=AgentWebConfig("[::1]:1"),
            engines=EnginesConfig(discover=False, interval=60.0, endpoints=(endpoint,)),
            calibration={"GPU-a": 1.02, "SIM-host.example-0": 0.98},
            attribution=AttributionConfig({"NVIDIA H100 80GB HBM3": 70.0}),
            replay=ReplayConfig(math.inf),
        )
        assert expected == config
        assert Path("run.jsonl") == config.replay_file

    @pytest.mark.parametrize(
        "text", ["", "# nothing\n", "web:\nengines: {endpoints: }\nsample_interval: null\n"]
    )
    def test_what_is_not_said_is_the_default(self, write: Write, text: str) -> None:
        """An empty file, and a key without a value, leave the defaults."""
        assert AgentConfig() == load_agent_config(write(text), {}, {})


class TestLayers:
    def test_flags_over_environment_over_file(self, write: Write) -> None:
        """Each layer wins over the one below it, key by key."""
        path = write("sample_interval: 2s\nengines: {interval: 2s}\nreplay: {speed: 2}\n")
        environ = {"PERWATT_ENGINES_INTERVAL": "3s", "PERWATT_REPLAY_SPEED": "3", "PERWATT_STATE_DIR": ""}
        flags = {"replay.speed": "4", "backend": None}

        config = load_agent_config(path, environ, flags)

        assert (2.0, 3.0, 4.0) == (config.sample_interval, config.engines.interval, config.replay.speed)
        assert (AgentConfig().state_dir, AgentConfig().backend) == (config.state_dir, config.backend)

    def test_every_scalar_key_has_a_variable_and_a_flag(self) -> None:
        """No scalar can be set in the file alone: a rubbish value is refused from both."""
        scalars = [path for path, setting in walk(AgentConfig) if setting.shape == "scalar"]
        # Any text is a path.
        texts = ["state_dir", "data_dir", "work.textfile_dir"]
        texts += ["identity.hpc_job_mapping_dir", "identity.pod_resources_socket"]
        texts += ["identity.kubelet_token_file"]

        for path in set(scalars) - set(texts):
            variable = "PERWATT_" + path.replace(".", "_").upper()
            flag = "--" + path.replace("_", "-")
            assert [variable, path] == errors(None, {variable: "?"})[0].split(": ")[:2]
            assert [flag, path] == errors(None, {}, {path: "?"})[0].split(": ")[:2]
        assert set(texts) < set(scalars)

    def test_unknown_variables_are_let_be(self) -> None:
        """Kubernetes sets variables such as PERWATT_PORT for a service called perwatt."""
        assert AgentConfig() == load_agent_config(None, {"PERWATT_PORT": "tcp://10.0.0.1:9836"}, {})

    def test_engine_flags_replace_the_list(self, write: Write) -> None:
        """A list is replaced as a whole; a comma that no key follows belongs to the value."""
        flags = {"engines.endpoints": ["url=http://a/m?x=1,2,gpus=0+1,shared=true", "group=big,gpus=GPU-b"]}

        config = load_agent_config(write(EXAMPLE), {}, flags)

        first = EndpointConfig(url="http://a/m?x=1,2", gpus=(0, 1), shared=True)
        assert (first, EndpointConfig(group="big", gpus=("GPU-b",))) == config.engines.endpoints

    def test_calibration_flags_go_over_single_entries(self, write: Write) -> None:
        """A map is merged entry by entry."""
        path = write("calibration: {GPU-a: 1.01, GPU-b: 1.02}\n")

        config = load_agent_config(path, {}, {"calibration": ["GPU-b=0.9,GPU-c=1.1"]})

        assert {"GPU-a": 1.01, "GPU-b": 0.9, "GPU-c": 1.1} == config.calibration


WRONG = [
    ("backend: nvlm", "1: backend: expected nvml, simulated or replay:FILE, not 'nvlm'"),
    (
        "backend: replay:absent",
        "1: backend: expected after replay: a file that can be read (No such file or directory), "
        "not 'replay:absent'",
    ),
    (
        "# a comment\nsample_interval: 1",
        "2: sample_interval: expected a duration from 100ms to 1m with its unit, "
        "such as 250ms, 1s, 5m or 1h, not '1'",
    ),
    (
        "engines: {interval: 500ms}",
        "1: engines.interval: expected a duration from 1s to 1h with its unit, "
        "such as 250ms, 1s, 5m or 1h, not '500ms'",
    ),
    ("sample_intervall: 1s", "1: sample_intervall: unknown key, expected sample_interval"),
    ("replay: {zzz: 1}", "1: replay.zzz: unknown key, expected one of speed"),
    (
        "web:\n  listen_address: 9836",
        "2: web.listen_address: expected HOST:PORT, such as 0.0.0.0:9836, not '9836'",
    ),
    ("web: 9836", "1: web: expected a mapping of keys to values"),
    ("- backend", "1: file: expected a mapping of keys to values"),
    ("backend: [nvml]", "1: backend: expected a single value"),
    ("backend: nvml\nbackend: nvml", "2: backend: expected once, but given again"),
    (
        "replay: {speed: fast}",
        "1: replay.speed: expected 1, max or another number from 0.001 to 1e6, not 'fast'",
    ),
    ("calibration: {GPU-a: 1.6}", "1: calibration.GPU-a: expected a number from 0.5 to 1.5, not '1.6'"),
    ("calibration: {0: 1}", "1: calibration.0: expected a GPU's UUID as key, such as GPU-8f6d..."),
    (
        "attribution: {idle_watts: {NVIDIA L40S: 35W}}",
        "1: attribution.idle_watts.NVIDIA L40S: expected a number from 1 to 2000, not '35W'",
    ),
    ("calibration: 1", "1: calibration: expected a mapping of keys to values"),
    ("engines: {discover: yes}", "1: engines.discover: expected true or false, not 'yes'"),
    ("engines: {endpoints: {}}", "1: engines.endpoints: expected a list"),
    ("engines: {endpoints: [http://a]}", "1: engines.endpoints[0]: expected a mapping of keys to values"),
    (
        "engines:\n  endpoints:\n  - url: here",
        "3: engines.endpoints[0].url: expected a URL such as http://127.0.0.1:8000/metrics, not 'here'",
    ),
    (
        "engines:\n  endpoints:\n  - workload: chat",
        "3: engines.endpoints[0].url: expected a URL; only an endpoint with a `group` may have none",
    ),
    (
        "engines:\n  endpoints:\n  - {url: http://a, gpus: [x]}",
        "3: engines.endpoints[0].gpus: expected all, or a list of GPU indices or UUIDs, not 'x'",
    ),
    (
        "engines:\n  endpoints:\n  - {url: http://a, gpus: {a: b}}",
        "3: engines.endpoints[0].gpus: expected a single value or a list of them",
    ),
    (
        "engines:\n  endpoints:\n  - {url: http://a, role: boss}",
        "3: engines.endpoints[0].role: expected one of mixed, prefill, decode, router, trainer, not 'boss'",
    ),
    (
        "engines:\n  endpoints:\n  - {url: http://a, engine: vlmm}",
        f"3: engines.endpoints[0].engine: expected one of auto, {', '.join(engine_names())}, not 'vlmm'",
    ),
    (
        "engines:\n  endpoints:\n  - url: http://a\n    bearer_token_file: absent",
        "4: engines.endpoints[0].bearer_token_file: expected a file that can be read "
        "(No such file or directory), not 'absent'",
    ),
    (
        "engines:\n  endpoints:\n  - url: http://a\n    ca_file: /dev/null",
        "4: engines.endpoints[0].ca_file: expected nothing: the URL is not an https:// URL",
    ),
    (
        "engines:\n  endpoints:\n  - url: https://a\n    credentials_file: absent",
        "4: engines.endpoints[0].credentials_file: expected a file that can be read "
        "(No such file or directory), not 'absent'",
    ),
    (
        "engines:\n  endpoints:\n  - {url: http://a, workload: w, gpus: 0}\n"
        "  - {url: http://b, workload: w, gpus: 1}",
        "4: engines.endpoints[1].workload: expected an unused name; engines.endpoints[0] is 'w' too",
    ),
    (
        "engines:\n  endpoints:\n  - {url: http://a}\n  - {url: http://b, gpus: [1]}",
        "4: engines.endpoints[1].gpus: expected other GPUs, or `shared: true` on both: "
        "engines.endpoints[0] claims GPU 1 too",
    ),
    (
        "engines:\n  endpoints:\n  - {url: http://a, shared: true}\n  - url: http://b",
        "4: engines.endpoints[1].gpus: expected other GPUs, or `shared: true` on both: "
        "engines.endpoints[0] claims all GPUs too",
    ),
    (
        "engines:\n  endpoints:\n  - {url: 'http://localhost:80/metrics', gpus: 0}\n"
        "  - {url: 'http://127.0.0.1/metrics?', gpus: 1}",
        "4: engines.endpoints[1].url: expected another page, or a different `model` on both: "
        "engines.endpoints[0] reads this one too, and its tokens would count twice",
    ),
    (
        "engines:\n  endpoints:\n  - {url: http://a, gpus: 0, model: m}\n  - {url: http://A/, gpus: 1}",
        "4: engines.endpoints[1].url: expected another page, or a different `model` on both: "
        "engines.endpoints[0] reads this one too, and its tokens would count twice",
    ),
    (
        "[a]: b",
        "1: ?: unknown key, expected one of backend, sample_interval, state_dir, data_dir, web, engines, "
        "meters, identity, work, gpu, calibration, attribution, replay",
    ),
    ("[" * 5000, "1: file: expected YAML (nested less deeply)"),
    ("web: {", "2: file: expected YAML (expected the node content, but found '<stream end>')"),
    ("a: 1\n--- \nb: 2", "2: file: expected YAML (but found another document)"),
]


class TestErrors:
    @pytest.mark.parametrize(("text", "line"), WRONG, ids=[line.split(": ")[1] for _, line in WRONG])
    def test_one_error_one_line(self, write: Write, text: str, line: str) -> None:
        """Every error is one line, `FILE:LINE: key: what was expected`."""
        assert [f"agent.yaml:{line}"] == errors(write(text + "\n"))

    def test_all_errors_are_told(self, write: Write) -> None:
        """Several errors are all told, those of the file in its order, then variables, then flags."""
        path = write("sample_interval: 1\nnonsense: 1\nengines:\n  endpoints:\n  - {workload: a}\n")

        lines = errors(path, {"PERWATT_REPLAY_SPEED": "x"}, {"backend": "x"})

        assert ["agent.yaml:1", "agent.yaml:2", "agent.yaml:5", "PERWATT_REPLAY_SPEED", "--backend"] == [
            line.split(": ")[0] for line in lines
        ]

    def test_an_endpoint_with_an_error_starts_no_second_one(self, write: Write) -> None:
        """A URL that cannot be read is not told to be absent too."""
        path = write("engines:\n  endpoints:\n  - {url: x, gpus: [9x]}\n  - url: http://b\n")

        assert ["engines.endpoints[0].gpus", "engines.endpoints[0].url"] == [
            line.split(": ")[1] for line in errors(path)
        ]

    @pytest.mark.parametrize(
        ("flag", "line"),
        [
            ("nonsense", "--engine: engines.endpoints[0]: expected key=value, not 'nonsense'"),
            ("uri=http://a", "--engine: engines.endpoints[0].uri: unknown key, expected url"),
        ],
    )
    def test_engine_flags(self, flag: str, line: str) -> None:
        """What is wrong in a repeatable flag names the flag and the key."""
        assert [line] == errors(None, {}, {"engines.endpoints": [flag]})

    def test_only_flags_are_the_command_lines_fault(self, write: Write) -> None:
        """A wrong flag is a usage error; a wrong file or variable is not."""
        with pytest.raises(ConfigError) as by_flag:
            load_agent_config(None, {}, {"backend": "x"})
        with pytest.raises(ConfigError) as by_both:
            load_agent_config(write("backend: x"), {}, {"replay.speed": "x"})

        assert (True, False) == (by_flag.value.usage, by_both.value.usage)

    def test_a_file_that_cannot_be_read(self, write: Write) -> None:
        """A file that is not there, or is not text, is told in one line."""
        Path("binary.yaml").write_bytes(b"\xff\xfe\x00")
        Path("control.yaml").write_bytes(b"a: \x01")

        assert ["absent.yaml: cannot be read: No such file or directory"] == errors(Path("absent.yaml"))
        assert [".: cannot be read: Is a directory"] == errors(Path())
        assert ["binary.yaml:1: file: expected YAML in UTF-8"] == errors(Path("binary.yaml"))
        assert errors(Path("control.yaml"))[0].startswith("control.yaml:1: file: expected YAML (")


class TestClaims:
    @pytest.mark.parametrize(
        "endpoints",
        [
            "{url: http://a, gpus: [0]}, {url: http://b, gpus: [1]}",
            "{url: http://a, shared: true}, {url: http://b, gpus: 1, shared: true}",
            "{url: http://a}, {url: http://router, gpus: [], role: router}",
            "{url: http://a, gpus: 0}, {url: http://b, gpus: GPU-a}",
            "{url: 'http://a:1', gpus: 0}, {url: 'http://a:2', gpus: 1}",
            "{url: http://a/x, gpus: 0}, {url: http://a/y, gpus: 1}",
            "{url: http://a, gpus: 0, model: m}, {url: http://a, gpus: 1, model: n}",
        ],
        ids=[
            "apart",
            "shared",
            "router-without-gpus",
            "index-and-uuid",
            "another-port",
            "another-path",
            "another-model",
        ],
    )
    def test_accepted(self, write: Write, endpoints: str) -> None:
        """GPUs may be apart, shared or claimed by nobody; whether an index is a UUID shows only later."""
        config = load_agent_config(write(f"engines: {{endpoints: [{endpoints}]}}\n"), {}, {})

        assert 2 == len(config.engines.endpoints)
