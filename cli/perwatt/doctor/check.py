"""`perwatt check-config`: does this file say what a daemon understands?"""

from pathlib import Path

from msgspec import Struct

from perwatt_agent.config import AgentConfig, load_agent_config
from perwatt_agent.configfile.settings import settings_of
from perwatt_agent.configfile.yamlfile import top_level_keys
from perwatt_aggregator.config import AggregatorConfig, load_aggregator_config


def check_config(path: Path) -> str:
    """
    One line saying what the file is and that it is sound; environment and flags are left out.

    Raises ConfigError naming every error.
    """
    keys = top_level_keys(path)
    if _known(keys, AggregatorConfig) > _known(keys, AgentConfig):
        load_aggregator_config(path, {}, {})
        return f"{path}: a sound configuration of the aggregator"
    load_agent_config(path, {}, {})
    return f"{path}: a sound configuration of the agent"


def _known(keys: list[str], config: type[Struct]) -> int:
    return len({setting.name for setting in settings_of(config)}.intersection(keys))
