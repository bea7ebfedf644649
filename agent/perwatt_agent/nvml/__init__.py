"""
The GPU backend over NVIDIA's management library: the only package that knows pynvml.

Importing it is free; pynvml comes in with the first `open`.
"""

from perwatt_agent.nvml.backend import NvmlBackend

__all__ = ["NvmlBackend"]
