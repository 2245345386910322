"""How a model is optimised: an optimiser and a schedule, by whatever class the config names."""

import inspect
import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal

from pytorch_lightning import Trainer
from torch import nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import CosineAnnealingLR, LambdaLR, LRScheduler, OneCycleLR, ReduceLROnPlateau

from aetransfer.errors import UserError
from aetransfer.models.length import steps_an_epoch

# Parameters and their peak learning rate, by the name of its curve; None for the optimiser's own.
Rates = Mapping[str, tuple[Iterable[nn.Parameter], float | None]]


@dataclass(frozen=True)
class Optimisation:
    """optimizer: makes one of parameter groups. scheduler: makes one of an optimiser, None for a constant rate.

    lr, encoder_lr: peak rates of what is beside the encoder, and of the encoder; None for the optimiser's own.
    interval: whether the schedule counts steps or epochs.
    """

    optimizer: Callable[[list[dict[str, Any]]], Any]
    lr: float | None
    encoder_lr: float | None
    scheduler: partial[Any] | None
    interval: Literal["step", "epoch"]

    def configure(self, rates: Rates, trainer: Trainer, monitor: str, mode: str) -> dict[str, Any]:
        """Return what Lightning's `configure_optimizers` wants. Raises UserError as `make`."""
        steps = int(trainer.estimated_stepping_batches)
        if self.interval == "epoch":
            steps = math.ceil(steps / steps_an_epoch(trainer))
        optimizer, scheduler = self.make(rates, steps, mode)
        if scheduler is None:
            return {"optimizer": optimizer}
        node: dict[str, Any] = {"scheduler": scheduler, "interval": self.interval}
        if isinstance(scheduler, ReduceLROnPlateau):
            node["monitor"] = monitor
        return {"optimizer": optimizer, "lr_scheduler": node}

    def make(self, rates: Rates, steps: int, mode: str) -> tuple[Optimizer, Any]:
        """Make the optimiser and the schedule, None without one. Parameters that need no gradient are left out.

        steps: those of the whole training that the schedule counts, or epochs. mode: min or max, the direction of the
        metric that chooses the epoch. Raises UserError for what is no optimiser, or refuses its settings.
        """
        groups = []
        for name, (every, lr) in rates.items():
            if parameters := [parameter for parameter in every if parameter.requires_grad]:
                groups.append({"params": parameters, "name": name, **({} if lr is None else {"lr": lr})})
        with _refusals("optimizer"):
            optimizer = self.optimizer(groups)
        if not isinstance(optimizer, Optimizer):
            raise UserError(f"optimizer: {type(optimizer).__qualname__} is no torch.optim.Optimizer: choose one.")
        if self.scheduler is None:
            return optimizer, None
        # What the schedule asks for and the config leaves open.
        peaks = [group["lr"] for group in optimizer.param_groups]
        offered = {"total_steps": steps, "T_max": steps, "max_lr": peaks}
        if self.scheduler.func is ReduceLROnPlateau:
            offered["mode"] = mode
        takes = inspect.signature(self.scheduler.func).parameters
        known = {key: value for key, value in offered.items() if key in takes and key not in self.scheduler.keywords}
        with _refusals("scheduler"):
            return optimizer, self.scheduler(optimizer, **known)


@contextmanager
def _refusals(group: str) -> Iterator[None]:
    try:
        yield
    except (ValueError, TypeError, RuntimeError) as error:
        raise UserError(f"{group}: {str(error).rstrip('.')}.") from error


# Learning rates over a training, as factors of each parameter group's peak rate.


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
