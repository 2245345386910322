"""Learning rates over a training, as factors of each parameter group's peak rate."""

import math

from torch.optim import Optimizer
from torch.optim.lr_scheduler import CosineAnnealingLR, LambdaLR, LRScheduler, OneCycleLR


def cosine(optimizer: Optimizer, total_steps: int, warmup: float = 0.0, final_factor: float = 0.0) -> LRScheduler:
    """Fall along half a cosine to `final_factor` of the peak, after a linear rise over `warmup` of the steps.

    total_steps: of the whole training; the config need not give it. Raises ValueError for factors outside [0, 1].
    """
    _check(warmup=warmup, final_factor=final_factor)
    if not warmup and not final_factor:
        return CosineAnnealingLR(optimizer, T_max=total_steps)
    rising = round(warmup * total_steps)

    def factor(step: int) -> float:
        if step < rising:
            return (step + 1) / (rising + 1)
        fallen = (step - rising) / max(1, total_steps - rising)
        return final_factor + (1 - final_factor) * (1 + math.cos(math.pi * fallen)) / 2

    return LambdaLR(optimizer, factor)


def one_cycle(
    optimizer: Optimizer,
    total_steps: int,
    warmup: float = 0.3,
    initial_factor: float = 0.04,
    final_factor: float = 4e-6,
) -> LRScheduler:
    """Rise from `initial_factor` of the peak over `warmup` of the steps, then fall to `final_factor`.

    Smith & Topin 2018, as torch has it: momentum falls while the rate rises, where the optimiser has one. total_steps:
    of the whole training; the config need not give it. Raises ValueError for factors outside [0, 1].
    """
    _check(warmup=warmup, initial_factor=initial_factor, final_factor=final_factor)
    if not initial_factor or not final_factor:
        raise ValueError("initial_factor and final_factor of one_cycle should be above 0")
    return OneCycleLR(
        optimizer,
        max_lr=[group["lr"] for group in optimizer.param_groups],
        total_steps=total_steps,
        pct_start=warmup,
        div_factor=1 / initial_factor,
        final_div_factor=initial_factor / final_factor,
        cycle_momentum="momentum" in optimizer.defaults or "betas" in optimizer.defaults,
    )


def _check(**factors: float) -> None:
    for name, value in factors.items():
        if not 0 <= value <= 1:
            raise ValueError(f"{name}={value:g} should be from 0 to 1")
