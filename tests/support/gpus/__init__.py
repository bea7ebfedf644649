"""Fake GPUs: as a backend in Python, and as a driver library behind the real NVML binding."""
