"""
Model sizes: the FLOPs of a model for one token.

Forward: 2 N + 4 L d s, N active parameters, L layers of width d, s attended tokens. Training
is three times that: 6 N + 12 L d s (Chowdhery et al. 2022, PaLM, appendix B; Korthikanti et al. 2022).
FLOPs that are computed again, with checkpoints or after a preemption, do not count.
"""

from collections.abc import Sequence
from fnmatch import fnmatchcase

from perwatt_aggregator.answers.compute.config import ModelConfig

_TRAINING_PASSES = 3.0


def flops_per_token(size: ModelConfig) -> float | None:
    """FLOPs for one token; without attention if that is not configured. None without a size."""
    if size.parameters_active is None:
        return None
    attention = 4.0 * (size.layers or 0.0) * (size.hidden or 0.0) * (size.context or 0.0)
    forward = 2.0 * size.parameters_active + attention
    return forward * _TRAINING_PASSES if size.training else forward


class Sizes:
    """The configured sizes; no size is derived from a model's name."""

    def __init__(self, configured: Sequence[ModelConfig] = ()) -> None:
        self._configured = configured

    def of(self, model: str, workload: str) -> ModelConfig | None:
        """The first entry that matches; None if there is none."""
        for size in self._configured:
            if fnmatchcase(model, size.model) and fnmatchcase(workload, size.workload):
                return size
        return None
