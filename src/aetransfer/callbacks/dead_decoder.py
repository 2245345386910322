"""Notice a decoder whose sigmoid has saturated, instead of training on black images for a hundred epochs."""

from pytorch_lightning import Callback, LightningModule, Trainer

from aetransfer.errors import UserError
from aetransfer.models.autoencoder import AutoEncoder

# Largest range of any pixel over the images, in pixel values in [0, 1], that counts as "the same for every input".
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
        if not isinstance(pl_module, AutoEncoder):
            return
        self.checked = True
        images = trainer.datamodule.first_images("val", 64).to(pl_module.device)
        outputs = pl_module.reconstruct(images)
        spread = (outputs.amax(0) - outputs.amin(0)).max().item()
        if spread < SAME:
            raise UserError(
                f"The decoder is dead: after {trainer.global_step} steps its output is the same for every input (mean "
                f"{outputs.mean().item():.4f}, largest difference {spread:.1g}). Its sigmoid has saturated and passes no "
                "gradient back: use encoder.init=he, or lower model.optimizer.lr."
            )
