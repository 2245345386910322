"""How long a training is, how far it is, when it ends and when it is validated: in epochs, steps and batches, whichever
of them its config gives, and beyond what Lightning does with these settings.

Lightning's own max_steps ends an epoch without a validation, and does a finished epoch again after a resume. Its
val_check_interval leaves the end of an epoch unvalidated where the interval does not divide it.
"""

import math
import re
from collections.abc import Callable
from typing import Any

from pytorch_lightning import Callback, LightningModule, Trainer
from torch import Tensor

from aetransfer.config.schema import Training
from aetransfer.data.module import Part, data_of
from aetransfer.errors import UserError
from aetransfer.models.processes import mean_over_processes

PARTS: dict[str, tuple[Part, ...]] = {"fit": ("train", "val"), "validate": ("val",), "test": ("test",)}


class LengthError(UserError):
    """A training's settings don't fit the length of its epochs."""

    def of_pretraining(self) -> UserError:
        """Return what to say where a transfer declares that training, whose keys are then below `pretrain`."""
        return UserError(re.sub(r"\btrainer\.", "pretrain.trainer.", str(self)))


def limited(limit: int | float | None, batches: int) -> int:
    """Return how many of `batches` a limit leaves: so many, a fraction of them (at least one), or all."""
    if limit is None:
        return batches
    return min(limit, batches) if isinstance(limit, int) else max(1, int(round(limit * batches, 6)))


def check_length(training: Training, batches: int) -> None:
    """Raise LengthError where a validation would never come, in epochs of so many batches before any limit."""
    batches = limited(training.limit_train_batches, batches)
    interval = training.val_check_interval
    if isinstance(interval, int) and interval > batches:
        raise LengthError(
            f"trainer.val_check_interval={interval}, but an epoch has {batches} batch{'es' if batches > 1 else ''}: "
            "lower it, or set trainer.check_val_every_n_epoch to validate after every n-th epoch."
        )
    every = training.check_val_every_n_epoch
    if every is None or training.max_steps is None:
        return
    steps = _steps(training, batches)
    epochs = -(-training.max_steps // steps)
    if every > epochs:
        raise LengthError(
            f"trainer.check_val_every_n_epoch={every}, but trainer.max_steps={training.max_steps} ends in epoch "
            f"{epochs}, of {steps} steps each: lower it."
        )


def epochs_planned(training: Training, batches: int) -> float:
    """Return how many epochs a training has, of so many batches each before any limit."""
    if training.max_steps is None:
        assert training.max_epochs is not None
        return training.max_epochs
    return training.max_steps / _steps(training, limited(training.limit_train_batches, batches))


def _steps(training: Training, batches: int) -> int:
    return -(-batches // training.accumulate_grad_batches)


class LimitedTrainer(Trainer):
    """Lightning's Trainer, for a training that ends after so many optimiser steps. It needs Length beside it."""

    steps: int | None = None

    @property
    def estimated_stepping_batches(self) -> int | float:
        return super().estimated_stepping_batches if self.steps is None else self.steps


class Length(Callback):
    """End a training at its last step, and validate at the end of each epoch that is validated, and of the training."""

    def __init__(self) -> None:
        self._interval: int | float | None = None

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        for part in PARTS.get(stage, ()):
            limit = getattr(trainer, f"limit_{part}_batches")
            if isinstance(limit, float) and limit < 1:
                setattr(trainer, f"limit_{part}_batches", limited(limit, data_of(trainer).batches(part)))
        if stage != "fit":
            return
        trainer.fit_loop.setup_data()
        if isinstance(trainer.val_check_interval, float):
            trainer.val_check_batch = math.ceil(round(trainer.num_training_batches * trainer.val_check_interval, 6))
        self._interval = trainer.val_check_batch
        if isinstance(trainer, LimitedTrainer) and trainer.steps is not None:
            trainer.fit_loop.max_epochs = math.ceil(trainer.steps / steps_an_epoch(trainer))

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        validate_last_epoch(trainer)

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        trainer.val_check_batch = self._interval

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int) -> None:
        last = batch_idx + 1 == trainer.num_training_batches
        steps = last or (batch_idx + 1) % trainer.accumulate_grad_batches == 0
        if steps and isinstance(trainer, LimitedTrainer) and trainer.global_step + 1 == trainer.steps:
            trainer.should_stop = last = True
        if last:
            trainer.val_check_batch = batch_idx + 1
        validate_last_epoch(trainer)


def validate_last_epoch(trainer: Trainer) -> None:
    """Validate an epoch that may be the last, or that ends the training as soon as it may end."""
    if trainer.should_stop or trainer.current_epoch + 1 == trainer.max_epochs:
        trainer.check_val_every_n_epoch = 1


class NoTraining(Callback):
    """A training that is over: what it left is loaded, all that goes with it is set up, and no step is done."""

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        # From here on Lightning heeds it before the first step. An epoch's number would not do: early stopping has
        # ended some trainings before their last one.
        trainer.should_stop = True


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
