"""What ends a training that is worth nothing any more: a loss or weights that are NaN, and a decoder that is dead.

A metric that is NaN is only said, in validation and test. It chooses no epoch: a ModelCheckpoint takes it for the
worst.
"""

import logging
from typing import Any, Literal

import torch
from pytorch_lightning import Callback, LightningModule, Trainer
from pytorch_lightning.callbacks import ModelCheckpoint
from pytorch_lightning.trainer.states import TrainerFn
from torch import Tensor

from aetransfer.data.batches import content
from aetransfer.data.module import data_of
from aetransfer.errors import UserError
from aetransfer.models.base import Model
from aetransfer.models.capabilities import HasPosterior, Reconstructs
from aetransfer.models.processes import in_any_process
from aetransfer.training.callbacks.board import as_taken, uncompiled
from aetransfer.training.strategy import is_sharded

log = logging.getLogger(__name__)


class Finite(Callback):
    """Raise UserError that names the first step whose loss is NaN or infinite, or after which a weight is.

    Losses stay on their device until they are looked at: every so many batches and before each checkpoint. Waiting for
    a GPU at each step would slow all of them.
    """

    def __init__(self, every_n_batches: int) -> None:
        self.every_n_batches = every_n_batches
        self._losses: list[tuple[int, Tensor]] = []

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        # A batch whose gradients are only collected belongs to the step that comes.
        collected = (batch_idx + 1) % trainer.accumulate_grad_batches and batch_idx + 1 < trainer.num_training_batches
        self._losses.append((trainer.global_step + bool(collected), outputs["loss"].detach()))
        if (batch_idx + 1) % self.every_n_batches == 0:
            self._check_losses(trainer)

    def on_validation_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        # The best epoch is kept after this.
        self.check(trainer)

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        _say_what_is_nan(trainer, "val")

    def on_test_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        _say_what_is_nan(trainer, "test")

    def check(self, trainer: Trainer) -> None:
        """Look at losses and weights. All processes must call this at the same step. Raises UserError."""
        self._check_losses(trainer)
        finite = torch.stack([torch.isfinite(each.detach()).all() for each in trainer.lightning_module.parameters()])
        if in_any_process(trainer, not finite.all().item()):
            raise _diverged(f"A weight is NaN or infinite after step {trainer.global_step}")

    def _check_losses(self, trainer: Trainer) -> None:
        losses, self._losses = self._losses, []
        finite = torch.stack([loss for _, loss in losses]).isfinite().tolist() if losses else []
        bad = [step for (step, _), good in zip(losses, finite, strict=True) if not good]
        if in_any_process(trainer, bool(bad)):
            raise _diverged(f"The loss is NaN or infinite at step {bad[0] if bad else trainer.global_step}")


def _diverged(what: str) -> UserError:
    return UserError(
        f"{what}: lower optimizer.lr or set trainer.gradient_clip_val, the last checkpoint is from before it."
    )


def check_chosen(trainer: Trainer) -> None:
    """Raise UserError where no epoch could be chosen: an infinite score of the best stands for NaN."""
    best = trainer.checkpoint_callback
    assert isinstance(best, ModelCheckpoint)
    if best.best_model_score is not None and not best.best_model_score.isfinite():
        raise UserError(
            f"{best.monitor} is NaN or infinite after every epoch, so no epoch can be chosen as the best: the model's "
            f"outputs for some {data_of(trainer).noun} are no numbers, try trainer.precision=32-true or lower "
            "optimizer.lr."
        )


def _say_what_is_nan(trainer: Trainer, part: Literal["val", "test"]) -> None:
    metrics = trainer.callback_metrics.items()
    names = [name for name, value in metrics if name.startswith(f"{part}/") and value.isnan()]
    if not names or not trainer.is_global_zero:
        return
    when = f" after step {trainer.global_step}" if trainer.state.fn == TrainerFn.FITTING else ""
    model = trainer.lightning_module
    because = model.because(part) if isinstance(model, Model) else {}
    for name, why in because.items():
        log.warning("NaN%s: %s/%s %s.", when, part, name, why)
    if others := [name for name in names if name.partition("/")[2] not in because]:
        noun = data_of(trainer).noun
        log.warning("NaN%s: %s. The model's outputs for some %s are NaN or infinite.", when, ", ".join(others), noun)


# Variance of the outputs over the images, relative to that of the inputs, that counts as "the same for every input";
# and p (1 - p), relative to it, that counts as none. Not zero: a corner pixel, which fewer weights reach, may still
# move. A living decoder is above 0.5 after one epoch.
SAME = 1e-3
# Without a sigmoid: a code that says little of inputs that are hard to tell is no death; a dead ReLU passes nothing.
NOTHING = 1e-6
# Before this many steps a healthy decoder may still draw the mean image.
FIRST_STEP = 200
IMAGES = 64


class DeadDecoder(Callback):
    """Raise UserError at a validation that finds all images reconstructed alike.

    At once where the sigmoid has saturated, else from 200 steps on. A sigmoid whose output is p passes p (1 - p) of the
    gradient back. A decoder that has learnt nothing yet draws the mean image, where p (1 - p) averages to at least the
    pixels' variance: m - m^2 >= E[x^2] - m^2 for x in [0, 1] of mean m. One that draws the same for every input and
    passes a thousandth of that has died, however few steps there were.

    Any model that reconstructs is watched. One that leaves [0, 1] has no sigmoid; nor has one of inputs that are no
    pixels, which is dead where nothing of its code reaches it. One with a posterior may go without its costly codes.
    """

    def on_validation_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if trainer.state.fn != TrainerFn.FITTING or is_sharded(trainer):
            return
        if not isinstance(pl_module, Reconstructs) or isinstance(pl_module, HasPosterior):
            return
        data = data_of(trainer)
        # No more than a training step has memory for, but two can differ.
        count = max(2, min(IMAGES, data.batch_size // trainer.world_size))
        images = as_taken(data.first_inputs("val", count), pl_module)
        if len(images) < 2:
            return
        with uncompiled(pl_module):
            outputs = content(pl_module.reconstruct(images), data.margin).float()
        pixels, inputs = data.takes_pixels, content(images, data.margin).float()
        if pixels and (outputs.min() < 0 or outputs.max() > 1):
            return
        if isinstance(pl_module, Model):
            outputs, inputs = (pl_module.encoder.in_loss_units(each) for each in (outputs, inputs))
        variance = inputs.var(0).mean()
        varies = (outputs.var(0).mean() / variance).item()
        passed = ((outputs * (1 - outputs)).mean() / variance).item()
        saturated = pixels and passed < SAME
        if varies < (SAME if pixels else NOTHING) and (saturated or trainer.global_step >= FIRST_STEP):
            passes_none = "Its sigmoid has saturated and passes no gradient back"
            why = passes_none if saturated else "Nothing of its code reaches it any more"
            raise UserError(
                f"The decoder is dead: after {trainer.global_step} steps its output is the same for every input "
                f"(mean {outputs.mean().item():.4f}, {varies:.1g} of the inputs' variance). {why}: use "
                "encoder.init=he, or lower optimizer.lr."
            )
