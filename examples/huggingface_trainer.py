"""
Report a Hugging Face Trainer's work to perwatt.

    trainer = Trainer(..., callbacks=[PerwattCallback("train-7b", gpus=[visible_gpu(local_rank)])])

With `include_num_input_tokens_seen=True` in the training arguments the unit is tokens, else samples.
Every rank reports its own share, and the agent of each node adds up those of its node.
"""

from collections.abc import Sequence
from typing import Any

from perwatt.work import Meter, visible_gpu

try:
    from transformers import TrainerCallback
except ImportError:  # then there is no Trainer to ask for more than these methods
    TrainerCallback = object

__all__ = ["PerwattCallback", "visible_gpu"]


class PerwattCallback(TrainerCallback):  # type: ignore[misc]
    """Start a meter with the training, tell it of every step, and close it with the training."""

    def __init__(self, job: str, *, gpus: Sequence[int | str] | None = None, **meter: Any) -> None:
        self._job = job
        self._gpus = gpus
        self._options = meter
        self.meter: Meter | None = None

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        self.meter = Meter(
            self._job,
            "tokens" if _counts_tokens(args) else "samples",
            gpus=self._gpus,
            rank=args.process_index,
            world_size=args.world_size,
            start=_done(args, state),  # a checkpoint's work was done before, and its joules spent
            **self._options,
        )

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        if self.meter is not None:
            self.meter.set(_done(args, state))

    def on_train_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        if self.meter is not None:
            self.meter.close()


def _done(args: Any, state: Any) -> float:
    """
    This rank's share of the work so far.

    The Trainer counts tokens over all ranks. It does not count samples: every step is taken for a full
    one, so that the last of an epoch may count more than it had.
    """
    if _counts_tokens(args):
        return float(state.num_input_tokens_seen) / float(args.world_size)
    return float(state.global_step * args.train_batch_size * args.gradient_accumulation_steps)


def _counts_tokens(args: Any) -> bool:
    # Older releases say True and False, newer ones "all", "non_padding" and "no".
    return args.include_num_input_tokens_seen not in (False, None, "no")
