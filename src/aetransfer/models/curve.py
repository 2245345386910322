"""The curves of training, logged at the steps that loggers keep: Lightning's `log` costs a millisecond, kept or not."""

from collections.abc import Callable

from pytorch_lightning import LightningModule, Trainer
from torch import Tensor

from aetransfer.models.length import is_validated
from aetransfer.models.processes import mean_over_processes


def is_kept(trainer: Trainer) -> bool:
    """Tell whether loggers keep what is logged in this training step."""
    return _is_multiple(trainer, trainer.global_step + 1)


def was_logged(trainer: Trainer, batch_idx: int) -> bool:
    """Tell after a batch, of whose step it may be the last, whether `log_step` has logged it."""
    stepped = (batch_idx + 1) % trainer.accumulate_grad_batches == 0 or trainer.is_last_batch
    return _is_multiple(trainer, trainer.global_step + (not stepped)) or _ends_row(trainer)


def log_step(module: LightningModule, values: Callable[[], dict[str, Tensor]]) -> None:
    """Log the mean over processes of a training step's scalars, if they are kept or the last of an epoch or before a
    validation.

    Only then are they asked for.
    """
    if is_kept(module.trainer) or _ends_row(module.trainer):
        module.log_dict({name: mean_over_processes(value) for name, value in values().items()})


def _ends_row(trainer: Trainer) -> bool:
    return trainer.is_last_batch or is_validated(trainer)


def _is_multiple(trainer: Trainer, steps: int) -> bool:
    every: int = trainer.log_every_n_steps  # type: ignore[attr-defined]  # Lightning sets it from elsewhere
    return steps % every == 0
