"""How many batches an epoch has, and whether a training's settings fit that; torch is not needed for it."""

import re

from aetransfer.config.schema import Training
from aetransfer.errors import UserError


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
