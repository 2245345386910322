"""How long a training is, when it ends and when it is validated, beyond what Lightning does with these settings.

Lightning's own max_steps ends an epoch without a validation, and does a finished epoch again after a resume. Its
val_check_interval leaves the end of an epoch unvalidated where the interval does not divide it.
"""

import math
import re
from typing import Any

from pytorch_lightning import Callback, LightningModule, Trainer

from aetransfer.config.schema import Training
from aetransfer.data.module import Part, data_of
from aetransfer.errors import UserError
from aetransfer.models.length import steps_an_epoch

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


def epochs_of(training: Training, batches: int) -> float:
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
