"""What several processes that train one model must agree on; with one process, all is as it is."""

from typing import Any

import torch
from pytorch_lightning import Trainer
from torch import Tensor

from aetransfer.data.draws import Share


def mean_over_processes(value: Tensor) -> Tensor:
    """Average what each process has, without its gradient. All of them must ask at the same step."""
    mean = value.detach().clone()
    if torch.distributed.is_available() and torch.distributed.is_initialized():
        torch.distributed.all_reduce(mean)
        mean /= torch.distributed.get_world_size()
    return mean


def in_any_process(trainer: Trainer, mine: bool) -> bool:
    """Tell whether it is so in any of them: one that acted alone would leave the others waiting for it.

    All of them must ask at the same step.
    """
    return bool(trainer.strategy.reduce_boolean_decision(mine, all=False))


def whole_batch(values: Tensor, share: Share) -> Tensor:
    """Return a batch's values (whole, ...) in their order, of which this process has (B, ...): for losses that compare
    examples. Gradients go back to the process that each value is of.
    """
    if share.world_size == 1:
        return values
    # An example that does not count has no place of its own.
    mine = share.of_whole(values) if share.counted else values.new_zeros((share.whole, *values.shape[1:]))
    whole: Tensor = _Summed.apply(mine)
    return whole


class _Summed(torch.autograd.Function):
    """The sum over processes. What each of them does with it pulls on every process's part."""

    @staticmethod
    def forward(ctx: Any, values: Tensor) -> Tensor:
        total = values.clone()
        torch.distributed.all_reduce(total)
        return total

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        total = gradient.contiguous().clone()
        torch.distributed.all_reduce(total)
        return total
