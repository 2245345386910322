"""What a model makes of its inputs and draws from its prior: for TensorBoard, and as PNG in the run directory."""

from typing import Any

import torch
from PIL import Image
from pydantic import PositiveInt
from pytorch_lightning import Trainer
from torch import Tensor

from aetransfer.callbacks.board import fixed_inputs
from aetransfer.callbacks.drawing import sheet
from aetransfer.callbacks.looking import LookAtTheTest, PictureOfEpochs
from aetransfer.callbacks.views import FloatImages, Pixels, View, view_of
from aetransfer.data.batches import content
from aetransfer.data.draws import step_generator
from aetransfer.data.module import Part, data_of
from aetransfer.models.capabilities import Reconstructs, Samples


class ReconstructionGrid(PictureOfEpochs, LookAtTheTest):
    """Images, their reconstructions and how far each pixel is off, in three rows by turns; signals and vectors in one
    panel each, with their reconstruction over them.

    While it trains, of fixed validation examples; at the final test, once, of fixed test examples.
    """

    needs = Reconstructs
    tag, file = "reconstructions/val", "reconstructions"
    what = "reconstructions/test"

    def __init__(
        self, directory: str, every_n_epochs: PositiveInt = 5, columns: PositiveInt = 16, rows: PositiveInt = 2
    ):
        super().__init__(directory, every_n_epochs)
        self.columns, self.rows = columns, rows

    def picture(self, trainer: Trainer, model: Any) -> Image.Image | None:
        return self._of("val", trainer, model)

    def look(self, trainer: Trainer, model: Any) -> None:
        picture = self._of("test", trainer, model)
        if picture is not None:
            self.board.show(self.what, picture, trainer.global_step, "reconstructions_test")

    def _of(self, part: Part, trainer: Trainer, model: Any) -> Image.Image | None:
        view, margin = view_of(trainer, model), data_of(trainer).margin
        if view is None:
            return None
        inputs = fixed_inputs(trainer, part, self.columns * self.rows, model)
        reconstructed = content(model.reconstruct(inputs), margin)
        return reconstruction_sheet(view, content(inputs, margin), reconstructed, self.columns)


def reconstruction_sheet(view: View, inputs: Tensor, reconstructed: Tensor, columns: int) -> Image.Image:
    """Draw images (N, C, H, W), reconstructions and error maps, (|difference| averaged over channels), in turns; or
    inputs of other shapes with their reconstructions over them.
    """
    if not isinstance(view, Pixels | FloatImages):
        picture = sheet(view.difference(inputs, reconstructed), across(columns, len(inputs), view), drawn=True)
        return view.noted(picture, "in colour: reconstructions of what is grey")
    columns = min(columns, len(inputs))
    rows = len(inputs) // columns
    parts = view.pictures(inputs), view.pictures(reconstructed), view.difference(inputs, reconstructed)
    by_turns = torch.stack([part[: rows * columns].unflatten(0, (rows, columns)) for part in parts], 1)
    names = ["image", "reconstruction", f"error, 0 to {view.worst}"] * rows
    return view.noted(sheet(by_turns.flatten(0, 2), columns, rows=names))


def across(columns: int, count: int, view: View) -> int:
    """Return how many pictures stand beside each other: of drawn ones, which are wider, half as many."""
    return max(1, min(columns // 2 if view.drawn else columns, count))


class PriorSamples(PictureOfEpochs):
    """What a model draws from its prior, from the same codes each time."""

    needs = Samples
    tag, file = "latents/prior_samples", "prior_samples"

    def __init__(
        self, directory: str, every_n_epochs: PositiveInt = 5, columns: PositiveInt = 16, rows: PositiveInt = 4
    ):
        super().__init__(directory, every_n_epochs)
        self.columns, self.rows = columns, rows

    def picture(self, trainer: Trainer, model: Any) -> Image.Image | None:
        view = view_of(trainer, model)
        if view is None:
            return None
        codes = step_generator("sample", 0, 0, model.device)
        samples = content(model.sample(self.columns * self.rows, codes), data_of(trainer).margin)
        return view.noted(sheet(view.pictures(samples), across(self.columns, len(samples), view), drawn=view.drawn))
