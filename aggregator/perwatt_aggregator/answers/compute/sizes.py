"""
The FLOPs that a model takes for a token, from its size.

Forward: 2 N + 4 L d s, N active parameters, L layers of width d, s tokens that are attended to. Training
takes three times that: 6 N + 12 L d s (Chowdhery et al. 2022, PaLM, appendix B; Korthikanti et al. 2022).
What is computed again, with checkpoints or after a preemption, is no work of the model.
"""

from collections.abc import Sequence
from fnmatch import fnmatchcase

from perwatt_aggregator.answers.compute.config import ModelConfig

_TRAINING_PASSES = 3.0


def flops_per_token(size: ModelConfig) -> float | None:
    """FLOPs for one token; attention is left out where it is not configured. None without a size."""
    if size.parameters_active is None:
        return None
    attention = 4.0 * (size.layers or 0.0) * (size.hidden or 0.0) * (size.context or 0.0)
    forward = 2.0 * size.parameters_active + attention
    return forward * _TRAINING_PASSES if size.training else forward


class Sizes:
    """The configured sizes. A model's name tells none."""

    def __init__(self, configured: Sequence[ModelConfig] = ()) -> None:
        self._configured = configured

    def of(self, model: str, workload: str) -> ModelConfig | None:
        """The first entry that fits; None where there is none."""
        for size in self._configured:
            if fnmatchcase(model, size.model) and fnmatchcase(workload, size.workload):
                return size
        return None
