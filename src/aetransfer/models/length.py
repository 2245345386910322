"""How long a training is, and how far it is: in epochs, steps and batches, whichever of them its config gives."""

import math

from pytorch_lightning import Trainer


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
