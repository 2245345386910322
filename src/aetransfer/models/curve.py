"""The curves of training, logged at the steps that loggers keep: Lightning's `log` costs a millisecond, kept or not."""

from collections.abc import Callable

from pytorch_lightning import LightningModule, Trainer
from torch import Tensor

from aetransfer.models.processes import mean_over_processes


def is_kept(trainer: Trainer) -> bool:
    """Tell whether loggers keep what is logged in this training step."""
    every: int = trainer.log_every_n_steps  # type: ignore[attr-defined]  # Lightning sets it from elsewhere
    return (trainer.global_step + 1) % every == 0


def log_step(module: LightningModule, values: Callable[[], dict[str, Tensor]]) -> None:
    """Log the mean over processes of a training step's scalars, if they are kept or are the last of their epoch.

    Only then are they asked for.
    """
    if is_kept(module.trainer) or module.trainer.is_last_batch:
        module.log_dict({name: mean_over_processes(value) for name, value in values().items()})
