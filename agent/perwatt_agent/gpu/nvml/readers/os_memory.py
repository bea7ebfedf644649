"""GPU memory managed by the operating system, as on Grace Hopper: the driver cannot report its use."""

import re
from pathlib import Path

from perwatt_agent.gpu.nvml.driver.calls import Facts

_LINE = r"(?m)^Node \d+ Mem(Total|Used): +(\d+) kB$"
_FACTS = {"Total": "os_memory_total_bytes", "Used": "os_memory_used_bytes"}


def node_memory(sysfs: Path, numa_node: int) -> Facts:
    """Memory of the NUMA node that is the GPU's memory; nothing where the kernel does not show it."""
    try:
        text = (sysfs / f"devices/system/node/node{numa_node}/meminfo").read_text()
    except OSError:
        return {}
    return {_FACTS[what]: int(kibibytes) * 1024 for what, kibibytes in re.findall(_LINE, text)}
