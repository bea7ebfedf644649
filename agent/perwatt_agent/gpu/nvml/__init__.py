"""GPU backend over NVIDIA's management library: the only package that knows pynvml."""
