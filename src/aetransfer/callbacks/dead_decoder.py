"""Notice a decoder that draws the same for every input, instead of training on black images for a hundred epochs.

A sigmoid whose output is p passes p (1 - p) of the gradient back. A decoder that has learnt nothing yet draws the mean
image, where p (1 - p) averages to at least the pixels' variance: m - m^2 >= E[x^2] - m^2 for x in [0, 1] of mean m. One
that draws the same for every input and passes a thousandth of that has died, however few steps there were.

Any model that reconstructs is watched. What it draws decides whether that is said of a sigmoid: one that leaves [0, 1]
has none. Nor has one of inputs that are no pixels, which is dead where nothing of its code reaches it. A model with a
posterior pays for its codes, and may go without them: that is no death.
"""

from pytorch_lightning import Callback, LightningModule, Trainer
from pytorch_lightning.trainer.states import TrainerFn

from aetransfer.callbacks.board import as_taken, uncompiled
from aetransfer.data.batches import content
from aetransfer.data.module import data_of
from aetransfer.errors import UserError
from aetransfer.models.base import Model
from aetransfer.models.capabilities import HasPosterior, Reconstructs
from aetransfer.sharded import is_sharded

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

    At once where the sigmoid has saturated, else from 200 steps on.
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
