"""Pictures for TensorBoard, and as PNG in the run directory: reconstructions, and what a VAE draws from its prior."""

from pathlib import Path

import torch
from PIL import Image
from pydantic import PositiveInt
from pytorch_lightning import Callback, LightningModule, Trainer
from pytorch_lightning.loggers import TensorBoardLogger
from pytorch_lightning.trainer.states import TrainerFn
from torch import Tensor
from torch.nn import functional as F

from aetransfer.data.module import data_of
from aetransfer.models.autoencoder import AutoEncoder
from aetransfer.models.content import content
from aetransfer.models.noise import step_generator
from aetransfer.models.vae import VAE
from aetransfer.sharded import is_sharded

# TensorBoard and a README show pictures pixel for pixel, and 28 pixels are small.
ENLARGE = 2
GAP = 2


def tile(images: Tensor, columns: int) -> Tensor:
    """Lay images (N, C, H, W) in [0, 1] out in rows, enlarged, with white gaps: (C, height, width)."""
    large = F.interpolate(images, scale_factor=ENLARGE, mode="nearest")
    framed = F.pad(large, (GAP,) * 4, value=1.0)
    missing = -len(framed) % columns
    framed = torch.cat([framed, framed.new_ones(missing, *framed.shape[1:])])
    rows = framed.unflatten(0, (-1, columns))  # (rows, columns, C, h, w)
    return rows.permute(2, 0, 3, 1, 4).flatten(3, 4).flatten(1, 2)


class ReconstructionGrid(Callback):
    """Validation images above their reconstructions, in pairs of rows."""

    def __init__(self, directory: str, every_n_epochs: PositiveInt = 5, columns: int = 16, rows: int = 2) -> None:
        self.directory, self.every_n_epochs, self.columns, self.rows = Path(directory), every_n_epochs, columns, rows

    def on_validation_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if isinstance(pl_module, AutoEncoder | VAE) and _due(trainer, self.every_n_epochs):
            images = data_of(trainer).first_images("val", self.columns * self.rows).to(pl_module.device)
            pairs = [
                part
                for inputs, outputs in zip(
                    images.split(self.columns), pl_module.reconstruct(images).split(self.columns), strict=True
                )
                for part in (inputs, outputs.float())
                if len(inputs) == self.columns
            ]
            if pairs:
                grid = tile(content(torch.cat(pairs), pl_module.margin), self.columns)
                _show(trainer, "reconstructions", grid, self.directory)


class PriorSamples(Callback):
    """What a VAE draws from its prior, from the same codes each time."""

    def __init__(self, directory: str, every_n_epochs: PositiveInt = 5, columns: int = 16, rows: int = 4) -> None:
        self.directory, self.every_n_epochs, self.columns, self.rows = Path(directory), every_n_epochs, columns, rows

    def on_validation_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if isinstance(pl_module, VAE) and _due(trainer, self.every_n_epochs):
            codes = step_generator("sample", 0, 0, pl_module.device)
            samples = pl_module.sample(self.columns * self.rows, codes).float()
            _show(trainer, "prior_samples", tile(content(samples, pl_module.margin), self.columns), self.directory)


def _due(trainer: Trainer, every_n_epochs: int) -> bool:
    """Tell whether this validation is one to draw: the first, each n-th and the last of a training."""
    if trainer.sanity_checking or not trainer.is_global_zero or trainer.state.fn != TrainerFn.FITTING:
        return False
    if is_sharded(trainer):
        return False
    epoch = trainer.current_epoch + 1
    return epoch == 1 or epoch % every_n_epochs == 0 or epoch == trainer.max_epochs


def _show(trainer: Trainer, name: str, grid: Tensor, directory: Path) -> None:
    pixels = (grid.detach().clamp(0, 1) * 255).round().to(torch.uint8).cpu()
    for logger in trainer.loggers:
        if isinstance(logger, TensorBoardLogger):
            logger.experiment.add_image(name, pixels, trainer.global_step)
    channels_last = pixels.permute(1, 2, 0)
    picture = channels_last.squeeze(2).numpy() if len(pixels) == 1 else channels_last.numpy()
    Image.fromarray(picture).save(directory / f"{name}.png")
