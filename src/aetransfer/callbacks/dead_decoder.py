"""Notice a decoder whose sigmoid has saturated, instead of training on black images for a hundred epochs."""

from pytorch_lightning import Callback, LightningModule, Trainer

from aetransfer.callbacks.board import as_taken, uncompiled
from aetransfer.data.module import data_of
from aetransfer.errors import UserError
from aetransfer.models.autoencoder import AutoEncoder
from aetransfer.sharded import is_sharded

# Variance of the outputs over the images, relative to that of the inputs, that counts as "the same for every input".
# Not zero: a corner pixel, which fewer weights reach, may still move. A living decoder is above 0.5 after one epoch.
SAME = 1e-3
# Before this many steps a healthy decoder may still draw the mean image.
FIRST_STEP = 200


class DeadDecoder(Callback):
    """Raise UserError when, at the first validation after 200 steps, all images are reconstructed alike."""

    def __init__(self) -> None:
        self.checked = False

    def on_validation_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if self.checked or trainer.sanity_checking or trainer.global_step < FIRST_STEP:
            return
        if not isinstance(pl_module, AutoEncoder) or is_sharded(trainer):
            return
        self.checked = True
        images = as_taken(data_of(trainer).first_images("val", 64), pl_module)
        with uncompiled(pl_module):
            outputs = pl_module.reconstruct(images)
        varies = (outputs.var(0).sum() / images.var(0).sum()).item()
        if varies < SAME:
            raise UserError(
                f"The decoder is dead: after {trainer.global_step} steps its output is the same for every input "
                f"(mean {outputs.mean().item():.4f}, {varies:.1g} of the inputs' variance). Its sigmoid has saturated "
                "and passes no gradient back: use encoder.init=he, or lower model.optimizer.lr."
            )
