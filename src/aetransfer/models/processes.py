"""What several processes that train one model must agree on; with one process, all is as it is."""

import torch
from pytorch_lightning import Trainer
from torch import Tensor


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
