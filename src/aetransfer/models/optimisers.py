"""Optimiser and learning rate schedule, the same choice for every model."""

from collections.abc import Iterable, Mapping
from typing import Any

import torch
from torch import nn
from torch.optim import lr_scheduler

from aetransfer.config.schema import Optimizer


def configure(
    config: Optimizer, groups: Mapping[str, tuple[Iterable[nn.Parameter], float]], total_steps: int
) -> dict[str, Any]:
    """Return what Lightning's `configure_optimizers` wants.

    groups: (parameters, peak learning rate) by the name of their curve; parameters that need no gradient are left
    out. total_steps: optimiser steps of the whole training, which the schedule ends with.
    """
    trained = [
        {"params": parameters, "lr": lr, "name": name}
        for name, (every, lr) in groups.items()
        if (parameters := [parameter for parameter in every if parameter.requires_grad])
    ]
    decay = config.weight_decay
    optimizer: torch.optim.Optimizer
    match config.name:
        case "adam":
            optimizer = torch.optim.Adam(trained, weight_decay=decay)
        case "adamw":
            optimizer = torch.optim.AdamW(trained, weight_decay=decay)
        case "sgd":
            optimizer = torch.optim.SGD(trained, momentum=0.9, nesterov=True, weight_decay=decay)

    scheduler: lr_scheduler.LRScheduler
    match config.schedule:
        case "none":
            return {"optimizer": optimizer}
        case "cosine":
            scheduler = lr_scheduler.CosineAnnealingLR(optimizer, T_max=total_steps)
        case "one_cycle":
            peaks = [group["lr"] for group in optimizer.param_groups]
            scheduler = lr_scheduler.OneCycleLR(optimizer, max_lr=peaks, total_steps=total_steps)
    return {"optimizer": optimizer, "lr_scheduler": {"scheduler": scheduler, "interval": "step"}}
