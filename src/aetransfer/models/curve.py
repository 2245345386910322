"""The curves of training, logged at the steps that loggers keep: Lightning's `log` costs a millisecond, kept or not."""

from collections.abc import Callable

from pytorch_lightning import LightningModule, Trainer
from torch import Tensor

from aetransfer.models.processes import mean_over_processes


def is_kept(trainer: Trainer) -> bool:
    """Tell whether loggers keep what is logged in this training step."""
    return _is_multiple(trainer, trainer.global_step + 1)


def was_logged(trainer: Trainer, batch_idx: int) -> bool:
    """Tell after a batch, of whose step it may be the last, whether `log_step` has logged it."""
    stepped = (batch_idx + 1) % trainer.accumulate_grad_batches == 0 or trainer.is_last_batch
    return _is_multiple(trainer, trainer.global_step + (not stepped)) or trainer.is_last_batch


def log_step(module: LightningModule, values: Callable[[], dict[str, Tensor]]) -> None:
    """Log the mean over processes of a training step's scalars, if they are kept or are the last of their epoch.

    Only then are they asked for.
    """
    if is_kept(module.trainer) or module.trainer.is_last_batch:
        module.log_dict({name: mean_over_processes(value) for name, value in values().items()})


def _is_multiple(trainer: Trainer, steps: int) -> bool:
    every: int = trainer.log_every_n_steps  # type: ignore[attr-defined]  # Lightning sets it from elsewhere
    return steps % every == 0
