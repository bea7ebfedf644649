"""What an operator may say of GPUs."""

from pathlib import Path

import pytest

from perwatt_agent.config import GpuConfig, load_agent_config
from perwatt_agent.configfile.layers import ConfigError
from perwatt_agent.facts.gpm import GpmMode


def configured(folder: Path, text: str) -> GpuConfig:
    path = folder / "perwatt.yaml"
    path.write_text(text)
    return load_agent_config(path, {}, {}).gpu


def test_by_default_the_monitor_gives_way_and_no_process_is_shown(tmp_path: Path):
    """What disturbs others or grows without bound is for who asks for it."""
    assert GpuConfig(gpm="auto", processes=0) == configured(tmp_path, "backend: nvml\n")


@pytest.mark.parametrize("word", ["auto", "on", "off"])
def test_words_are_words(tmp_path: Path, word: GpmMode):
    """YAML's own idea of on and off does not get in the way."""
    assert GpuConfig(gpm=word, processes=10) == configured(
        tmp_path, f"gpu:\n  gpm: {word}\n  processes: 10\n"
    )


@pytest.mark.parametrize("line", ["gpm: maybe", "processes: -1", "processes: all", "processes: 1000"])
def test_other_values_are_refused(tmp_path: Path, line: str):
    """With the line and what was expected."""
    with pytest.raises(ConfigError, match=r"perwatt\.yaml:2: gpu\..*expected"):
        configured(tmp_path, f"gpu:\n  {line}\n")
