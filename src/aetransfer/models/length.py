"""How long a training is, and how far it is: in epochs, steps and batches, whichever of them its config gives."""

import math
from collections.abc import Callable

from pytorch_lightning import LightningModule, Trainer
from torch import Tensor

from aetransfer.models.processes import mean_over_processes


def steps_an_epoch(trainer: Trainer) -> int:
    """Return the optimiser steps of a whole epoch."""
    return math.ceil(trainer.num_training_batches / trainer.accumulate_grad_batches)


def epochs_of(trainer: Trainer) -> float:
    """Return how many epochs the training has. `max_steps` may end it within one, which `trainer.max_epochs` counts."""
    return int(trainer.estimated_stepping_batches) / steps_an_epoch(trainer)


def epochs_done(trainer: Trainer) -> float:
    """Return how many epochs are done, to four decimals; whole ones as an int."""
    return _number(trainer.current_epoch + (trainer.fit_loop.batch_idx + 1) / int(trainer.num_training_batches))


def epochs_trained(trainer: Trainer) -> float:
    """Return the same of a training that is over."""
    return _number(trainer.global_step / steps_an_epoch(trainer))


def batches_left(trainer: Trainer) -> int:
    """Return how many batches are to come after this one."""
    epochs, steps = divmod(int(trainer.estimated_stepping_batches), steps_an_epoch(trainer))
    in_epoch = int(trainer.num_training_batches)
    done = trainer.current_epoch * in_epoch + trainer.fit_loop.batch_idx + 1
    return epochs * in_epoch + steps * trainer.accumulate_grad_batches - done


def is_validated(trainer: Trainer) -> bool:
    """Tell of a training batch, while it is done and after, whether a validation follows it."""
    epoch, batch = trainer.current_epoch + 1, trainer.fit_loop.batch_idx + 1
    return epoch % (trainer.check_val_every_n_epoch or 1) == 0 and batch % (trainer.val_check_batch or math.inf) == 0


def ends_epoch(trainer: Trainer) -> bool:
    """Tell after a training batch, and after the validation that follows it, whether it is the last of its epoch.

    That is not only the last of all batches: steps, or early stopping, may end a training before.
    """
    loop = trainer.fit_loop
    # Just after a resume Lightning doesn't yet say so of the last of all batches.
    return loop.batch_idx + 1 == trainer.num_training_batches or loop.epoch_loop.done


def falls_due(trainer: Trainer, every_n_epochs: int) -> bool:
    """Tell whether what is done every n epochs is done in this one: the first that is validated from each n-th on."""
    epoch = trainer.current_epoch + 1
    return epoch // every_n_epochs > (epoch - (trainer.check_val_every_n_epoch or 1)) // every_n_epochs


def _number(epochs: float) -> float:
    return int(epochs) if epochs == int(epochs) else round(epochs, 4)


# The curves of training, logged at the steps that loggers keep: Lightning's `log` costs a millisecond, kept or not.


def is_kept(trainer: Trainer) -> bool:
    """Tell whether loggers keep what is logged in this training step."""
    return _is_multiple(trainer, trainer.global_step + 1)


def was_logged(trainer: Trainer, batch_idx: int) -> bool:
    """Tell after a batch, of whose step it may be the last, whether `log_step` has logged it."""
    stepped = (batch_idx + 1) % trainer.accumulate_grad_batches == 0 or trainer.is_last_batch
    return _is_multiple(trainer, trainer.global_step + (not stepped)) or _ends_row(trainer)


def log_step(module: LightningModule, values: Callable[[], dict[str, Tensor]]) -> None:
    """Note the mean over processes of a training step's scalars, if they are kept or the last of an epoch or before a
    validation. Only then are they asked for. Loggers get the mean of what was noted since the last validation.
    """
    if is_kept(module.trainer) or _ends_row(module.trainer):
        module.log_dict({name: mean_over_processes(value) for name, value in values().items()}, logger=False)


def _ends_row(trainer: Trainer) -> bool:
    return trainer.is_last_batch or is_validated(trainer)


def _is_multiple(trainer: Trainer, steps: int) -> bool:
    every: int = trainer.log_every_n_steps  # type: ignore[attr-defined]  # Lightning sets it from elsewhere
    return steps % every == 0
