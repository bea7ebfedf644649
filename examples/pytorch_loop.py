"""
Report a plain PyTorch loop's work to perwatt.

    python examples/pytorch_loop.py                                  # one process, on the CPU
    torchrun --nproc-per-node 8 examples/pytorch_loop.py             # one rank a GPU
"""

import os
from collections.abc import Callable, Iterable
from typing import Any

from perwatt.work import URL, Meter, visible_gpu

JOB = "pytorch-example"


def train(batches: Iterable[Any], step: Callable[[Any], None], meter: Meter) -> None:
    """Take a step for each batch, and count its samples once it is done."""
    for batch in batches:
        step(batch)
        meter.add(len(batch))


def main(steps: int = 100, batch_size: int = 32, url: str = URL) -> Meter:
    """Train a tiny model on noise, and tell the agent at *url*; the meter that counted it."""
    import torch

    local_rank, on_gpu = int(os.environ.get("LOCAL_RANK", "0")), torch.cuda.is_available()
    device = f"cuda:{local_rank}" if on_gpu else "cpu"
    model = torch.nn.Linear(16, 1).to(device)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)

    def step(batch: Any) -> None:
        loss = (model(batch) - batch.sum(1, keepdim=True)).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        if on_gpu:
            torch.cuda.synchronize()  # else a step counts as done when it was merely asked for

    with Meter(
        JOB,
        unit="samples",
        gpus=[visible_gpu(local_rank)] if on_gpu else None,
        rank=int(os.environ.get("RANK", "0")),
        world_size=int(os.environ.get("WORLD_SIZE", "1")),
        url=url,
    ) as meter:
        train((torch.randn(batch_size, 16, device=device) for _ in range(steps)), step, meter)
    return meter


if __name__ == "__main__":
    main()
