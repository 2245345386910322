"""What an autoencoder makes of images, and a VAE of its prior: for TensorBoard, and as PNG in the run directory."""

import torch
from PIL import Image
from pydantic import PositiveInt
from pytorch_lightning import Callback, LightningModule, Trainer
from torch import Tensor

from aetransfer.callbacks.board import Board, fixed_images, last_step
from aetransfer.callbacks.drawing import heat, sheet
from aetransfer.data.module import Part
from aetransfer.models.autoencoder import AutoEncoder
from aetransfer.models.content import content
from aetransfer.models.noise import step_generator
from aetransfer.models.vae import VAE

# A pixel that is off by so much is white in an error map: the same in each epoch, so that maps can be compared.
WORST = 0.5


class ReconstructionGrid(Callback):
    """Images, their reconstructions and how far each pixel is off, in three rows by turns.

    While it trains, of fixed validation images; at the final test, once, of fixed test images.
    """

    def __init__(
        self, directory: str, every_n_epochs: PositiveInt = 5, columns: PositiveInt = 16, rows: PositiveInt = 2
    ):
        self.board, self.every_n_epochs, self.columns, self.rows = Board(directory), every_n_epochs, columns, rows

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        if stage == "fit":
            self.board.follow(trainer)

    def on_validation_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if self.board.is_due(trainer, self.every_n_epochs):
            self._draw(trainer, pl_module, "val", last_step(trainer), "reconstructions")

    def on_test_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if self.board.can_draw(trainer):
            self._draw(trainer, pl_module, "test", trainer.global_step, "reconstructions_test")

    def _draw(self, trainer: Trainer, model: LightningModule, part: Part, step: int, name: str) -> None:
        if not isinstance(model, AutoEncoder | VAE):
            return
        with self.board.drawing(f"reconstructions/{part}", model):
            images = fixed_images(trainer, part, self.columns * self.rows, model)
            reconstructed = content(model.reconstruct(images), model.margin)
            picture = reconstruction_sheet(content(images, model.margin), reconstructed, self.columns)
            self.board.show(f"reconstructions/{part}", picture, step, name)


def reconstruction_sheet(images: Tensor, reconstructed: Tensor, columns: int) -> Image.Image:
    """Draw images (N, C, H, W), reconstructions and error maps, (|difference| averaged over channels), in turns."""
    errors = heat((images - reconstructed).abs().mean(1, keepdim=True) / WORST)
    columns = min(columns, len(images))
    rows = len(images) // columns
    parts = [each[: rows * columns].expand(-1, 3, -1, -1) for each in (images, reconstructed, errors)]
    by_turns = torch.stack([part.unflatten(0, (rows, columns)) for part in parts], 1)
    names = ["image", "reconstruction", f"error, 0 to {WORST:g}"] * rows
    return sheet(by_turns.flatten(0, 2), columns, rows=names)


class PriorSamples(Callback):
    """What a VAE draws from its prior, from the same codes each time."""

    def __init__(
        self, directory: str, every_n_epochs: PositiveInt = 5, columns: PositiveInt = 16, rows: PositiveInt = 4
    ):
        self.board, self.every_n_epochs, self.columns, self.rows = Board(directory), every_n_epochs, columns, rows

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        if stage == "fit":
            self.board.follow(trainer)

    def on_validation_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if not isinstance(pl_module, VAE) or not self.board.is_due(trainer, self.every_n_epochs):
            return
        with self.board.drawing("latents/prior_samples", pl_module):
            codes = step_generator("sample", 0, 0, pl_module.device)
            samples = content(pl_module.sample(self.columns * self.rows, codes), pl_module.margin)
            picture = sheet(samples, self.columns)
            self.board.show("latents/prior_samples", picture, last_step(trainer), "prior_samples")
