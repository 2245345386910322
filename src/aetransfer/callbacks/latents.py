"""What lies between two codes, and what each latent of a VAE stands for."""

from typing import Any

import torch
from PIL import Image
from pydantic import PositiveInt
from pytorch_lightning import Trainer
from torch import Tensor

from aetransfer.callbacks.board import as_taken, fixed_images
from aetransfer.callbacks.drawing import heat, sheet
from aetransfer.callbacks.images import WORST
from aetransfer.callbacks.looking import PictureOfEpochs
from aetransfer.data.batches import content
from aetransfer.data.module import data_of
from aetransfer.evaluation.features import extracted
from aetransfer.models.capabilities import HasPosterior, Reconstructs

# The prior's deviation is 1, so these are latent units too.
DEVIATIONS = [place / 2 for place in range(-6, 7)]
# Validation images that a latent's variance is taken over.
IMAGES, BATCH = 1000, 250


class Interpolations(PictureOfEpochs):
    """Decode the straight line between the codes of two validation images (mu of a VAE), a pair a row."""

    needs = Reconstructs
    tag, file = "latents/interpolations", "interpolations"

    def __init__(
        self, directory: str, every_n_epochs: PositiveInt = 5, pairs: PositiveInt = 6, steps: PositiveInt = 11
    ):
        super().__init__(directory, every_n_epochs)
        self.pairs, self.steps = pairs, steps

    def picture(self, trainer: Trainer, model: Any) -> Image.Image | None:
        images = fixed_images(trainer, "val", 2 * self.pairs, model)
        if len(images) < 2:
            return None
        # Far apart in the data, which may be sorted by class.
        first, second = images[: len(images) // 2], images[len(images) - len(images) // 2 :]
        codes = between(model.encoder(first), model.encoder(second), self.steps)
        decoded = model.decode(codes.flatten(0, 1)).unflatten(0, codes.shape[:2])
        rows = torch.cat([first.unsqueeze(1), decoded, second.unsqueeze(1)], 1)
        heads = ["image", *(f"{place / max(self.steps - 1, 1):.1f}" for place in range(self.steps)), "image"]
        return sheet(content(rows.flatten(0, 1), data_of(trainer).margin), len(heads), heads=heads)


def between(first: Tensor, second: Tensor, steps: int) -> Tensor:
    """Return codes on the lines from first to second (N, D), ends included: (N, steps, D)."""
    shares = torch.linspace(0, 1, steps, dtype=first.dtype, device=first.device).view(1, -1, 1)
    return first.unsqueeze(1) + shares * (second - first).unsqueeze(1)


class Traversals(PictureOfEpochs):
    """Move one latent of a VAE at a time, from -3 to 3 deviations of the prior, all others as a validation image has
    them: a latent a row, those first whose mu varies most over the validation images. The last column says where the
    two ends of the row differ.
    """

    needs = HasPosterior
    tag, file = "latents/traversals", "traversals"

    def __init__(self, directory: str, every_n_epochs: PositiveInt = 5, latents: PositiveInt = 12):
        super().__init__(directory, every_n_epochs)
        self.latents = latents

    def picture(self, trainer: Trainer, model: Any) -> Image.Image:
        data = data_of(trainer)
        images = data.in_order("val", BATCH, model.device, IMAGES)
        means, _ = extracted(lambda each: model.encoder(as_taken(each, model)), images)
        variances = means.var(0, correction=0)
        chosen = variances.argsort(descending=True)[: self.latents]
        codes = moved(means[0], chosen, DEVIATIONS).flatten(0, 1)
        decoded = content(model.decode(as_taken(codes, model)), data.margin)
        rows = decoded.expand(-1, 3, -1, -1).unflatten(0, (-1, len(DEVIATIONS)))
        change = heat((rows[:, -1] - rows[:, 0]).abs().mean(1, keepdim=True) / WORST)
        return sheet(
            torch.cat([rows, change.unsqueeze(1)], 1).flatten(0, 1),
            len(DEVIATIONS) + 1,
            rows=[f"latent {latent}, var {variances[latent]:.2f}" for latent in chosen.tolist()],
            heads=[*(f"{place:+g}σ" if place else "0" for place in DEVIATIONS), "change"],
        )


def moved(code: Tensor, latents: Tensor, values: list[float]) -> Tensor:
    """Give one latent at a time each of the values: (L, V, D) from a code (D,) and latents (L,) int64."""
    codes = code.expand(len(latents), len(values), -1).clone()
    codes[torch.arange(len(latents)), :, latents] = code.new_tensor(values)
    return codes
