"""What a model makes of images, and what it draws from its prior: for TensorBoard, and as PNG in the run directory."""

from typing import Any

import torch
from PIL import Image
from pydantic import PositiveInt
from pytorch_lightning import Trainer
from torch import Tensor

from aetransfer.callbacks.board import fixed_images
from aetransfer.callbacks.drawing import heat, sheet
from aetransfer.callbacks.looking import LookAtTheTest, PictureOfEpochs
from aetransfer.data.batches import content
from aetransfer.data.draws import step_generator
from aetransfer.data.module import Part, data_of
from aetransfer.models.capabilities import Reconstructs, Samples

# A pixel that is off by so much is white in an error map: the same in each epoch, so that maps can be compared.
WORST = 0.5


class ReconstructionGrid(PictureOfEpochs, LookAtTheTest):
    """Examples, their reconstructions and how far each pixel is off, in three rows by turns.

    While it trains, of fixed validation images; at the final test, once, of fixed test images.
    """

    needs = Reconstructs
    tag, file = "reconstructions/val", "reconstructions"
    what = "reconstructions/test"

    def __init__(
        self, directory: str, every_n_epochs: PositiveInt = 5, columns: PositiveInt = 16, rows: PositiveInt = 2
    ):
        super().__init__(directory, every_n_epochs)
        self.columns, self.rows = columns, rows

    def picture(self, trainer: Trainer, model: Any) -> Image.Image:
        return self._of("val", trainer, model)

    def look(self, trainer: Trainer, model: Any) -> None:
        self.board.show(self.what, self._of("test", trainer, model), trainer.global_step, "reconstructions_test")

    def _of(self, part: Part, trainer: Trainer, model: Any) -> Image.Image:
        images = fixed_images(trainer, part, self.columns * self.rows, model)
        margin = data_of(trainer).margin
        reconstructed = content(model.reconstruct(images), margin)
        return reconstruction_sheet(content(images, margin), reconstructed, self.columns)


def reconstruction_sheet(images: Tensor, reconstructed: Tensor, columns: int) -> Image.Image:
    """Draw images (N, C, H, W), reconstructions and error maps, (|difference| averaged over channels), in turns."""
    errors = heat((images - reconstructed).abs().mean(1, keepdim=True) / WORST)
    columns = min(columns, len(images))
    rows = len(images) // columns
    parts = [each[: rows * columns].expand(-1, 3, -1, -1) for each in (images, reconstructed, errors)]
    by_turns = torch.stack([part.unflatten(0, (rows, columns)) for part in parts], 1)
    names = ["image", "reconstruction", f"error, 0 to {WORST:g}"] * rows
    return sheet(by_turns.flatten(0, 2), columns, rows=names)


class PriorSamples(PictureOfEpochs):
    """What a model draws from its prior, from the same codes each time."""

    needs = Samples
    tag, file = "latents/prior_samples", "prior_samples"

    def __init__(
        self, directory: str, every_n_epochs: PositiveInt = 5, columns: PositiveInt = 16, rows: PositiveInt = 4
    ):
        super().__init__(directory, every_n_epochs)
        self.columns, self.rows = columns, rows

    def picture(self, trainer: Trainer, model: Any) -> Image.Image:
        codes = step_generator("sample", 0, 0, model.device)
        samples = content(model.sample(self.columns * self.rows, codes), data_of(trainer).margin)
        return sheet(samples, self.columns)
