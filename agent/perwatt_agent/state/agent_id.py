"""Agent id: a random name of this agent, in a file that outlives a reboot."""

import logging
import os
import re
from pathlib import Path

logger = logging.getLogger(__name__)

_NAME = "agent_id"
_PATTERN = r"[0-9a-f]{16}"


def load_agent_id(folder: Path) -> str:
    """
    Return the id in *folder*, a new one where there is none yet.

    Return an empty string where it cannot be kept, which is logged: an id that changes with each restart
    would make every restart look like another machine.
    """
    file = folder / _NAME
    try:
        known = file.read_text().strip() if file.exists() else ""
        if re.fullmatch(_PATTERN, known):
            return known
        folder.mkdir(parents=True, exist_ok=True)
        made = os.urandom(8).hex()
        part = file.with_suffix(".part")
        part.write_text(f"{made}\n")
        part.replace(file)
    except (OSError, UnicodeDecodeError) as error:
        logger.warning(
            "two agents behind one address will not be told apart: cannot keep an id in %s (%s); "
            "make the folder writable or set data_dir",
            folder,
            error,
        )
        return ""
    return made
