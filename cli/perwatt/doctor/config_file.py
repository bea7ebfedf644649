"""`perwatt check-config`: validation of one configuration file."""

from pathlib import Path

from msgspec import Struct

from perwatt_agent.config import AgentConfig, load_agent_config
from perwatt_agent.configfile.settings import settings_of
from perwatt_agent.configfile.yamlfile import top_level_keys
from perwatt_aggregator.config import AggregatorConfig, load_aggregator_config


def check_config(path: Path) -> str:
    """
    One line with the file's kind, when it is valid. Environment and flags are left out.

    Raises ConfigError naming every error.
    """
    keys = top_level_keys(path)
    if _common(keys, AggregatorConfig) > _common(keys, AgentConfig):
        load_aggregator_config(path, {}, {})
        return f"{path}: valid configuration of the aggregator"
    load_agent_config(path, {}, {})
    return f"{path}: valid configuration of the agent"


def _common(keys: list[str], config: type[Struct]) -> int:
    """How many of the keys a daemon has."""
    return len({setting.name for setting in settings_of(config)}.intersection(keys))
