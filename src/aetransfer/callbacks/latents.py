"""What lies between two codes, and what each latent of a VAE stands for."""

from typing import Any

import torch
from PIL import Image
from pydantic import PositiveInt
from pytorch_lightning import Trainer
from torch import Tensor

from aetransfer.callbacks.board import as_taken, fixed_inputs
from aetransfer.callbacks.drawing import sheet
from aetransfer.callbacks.looking import PictureOfEpochs
from aetransfer.callbacks.views import view_of
from aetransfer.config.shapes import one_of
from aetransfer.data.batches import content
from aetransfer.data.module import data_of
from aetransfer.evaluation.features import extracted
from aetransfer.models.capabilities import HasPosterior, Reconstructs

# The prior's deviation is 1, so these are latent units too.
DEVIATIONS = [place / 2 for place in range(-6, 7)]
# Validation examples that a latent's variance is taken over.
EXAMPLES, BATCH = 1000, 250
# Pixels across a drawn panel, of which many stand in a row.
NARROW = 96


class Interpolations(PictureOfEpochs):
    """Decode the straight line between the codes of two validation examples (mu of a VAE), a pair a row."""

    needs = Reconstructs
    tag, file = "latents/interpolations", "interpolations"

    def __init__(
        self, directory: str, every_n_epochs: PositiveInt = 5, pairs: PositiveInt = 6, steps: PositiveInt = 11
    ):
        super().__init__(directory, every_n_epochs)
        self.pairs, self.steps = pairs, steps

    def picture(self, trainer: Trainer, model: Any) -> Image.Image | None:
        data, view = data_of(trainer), view_of(trainer, model, width=NARROW)
        inputs = fixed_inputs(trainer, "val", 2 * self.pairs, model)
        if len(inputs) < 2 or view is None:
            return None
        # Far apart in the data, which may be sorted by class.
        first, second = inputs[: len(inputs) // 2], inputs[len(inputs) - len(inputs) // 2 :]
        codes = between(model.encoder(first), model.encoder(second), self.steps)
        decoded = model.decode(codes.flatten(0, 1)).unflatten(0, codes.shape[:2])
        rows = torch.cat([first.unsqueeze(1), decoded, second.unsqueeze(1)], 1)
        end = one_of(data.shape)
        heads = [end, *(f"{place / max(self.steps - 1, 1):.1f}" for place in range(self.steps)), end]
        pictures = view.pictures(content(rows.flatten(0, 1), data.margin))
        return view.noted(sheet(pictures, len(heads), heads=heads, drawn=view.drawn))


def between(first: Tensor, second: Tensor, steps: int) -> Tensor:
    """Return codes on the lines from first to second (N, D), ends included: (N, steps, D)."""
    shares = torch.linspace(0, 1, steps, dtype=first.dtype, device=first.device).view(1, -1, 1)
    return first.unsqueeze(1) + shares * (second - first).unsqueeze(1)


class Traversals(PictureOfEpochs):
    """Move one latent of a VAE at a time, from -3 to 3 deviations of the prior, all others as a validation example has
    them: a latent a row, those first whose mu varies most over the validation examples. The last column says where the
    two ends of the row differ.
    """

    needs = HasPosterior
    tag, file = "latents/traversals", "traversals"

    def __init__(self, directory: str, every_n_epochs: PositiveInt = 5, latents: PositiveInt = 12):
        super().__init__(directory, every_n_epochs)
        self.latents = latents

    def picture(self, trainer: Trainer, model: Any) -> Image.Image | None:
        data, view = data_of(trainer), view_of(trainer, model, width=NARROW)
        if view is None:
            return None
        inputs = data.in_order("val", BATCH, model.device, EXAMPLES)
        means, _ = extracted(lambda each: model.encoder(as_taken(each, model)), inputs)
        variances = means.var(0, correction=0)
        chosen = variances.argsort(descending=True)[: self.latents]
        codes = moved(means[0], chosen, DEVIATIONS).flatten(0, 1)
        decoded = content(model.decode(as_taken(codes, model)), data.margin)
        rows = decoded.unflatten(0, (-1, len(DEVIATIONS)))
        pictures = view.pictures(decoded).unflatten(0, (-1, len(DEVIATIONS)))
        change = view.difference(rows[:, 0], rows[:, -1])
        picture = sheet(
            torch.cat([pictures, change.unsqueeze(1)], 1).flatten(0, 1),
            len(DEVIATIONS) + 1,
            rows=[f"latent {latent}, var {variances[latent]:.2f}" for latent in chosen.tolist()],
            heads=[*(f"{place:+g}σ" if place else "0" for place in DEVIATIONS), "change"],
            drawn=view.drawn,
        )
        return view.noted(picture, f"change: {DEVIATIONS[0]:g}σ in grey, {DEVIATIONS[-1]:+g}σ in colour")


def moved(code: Tensor, latents: Tensor, values: list[float]) -> Tensor:
    """Give one latent at a time each of the values: (L, V, D) from a code (D,) and latents (L,) int64."""
    codes = code.expand(len(latents), len(values), -1).clone()
    codes[torch.arange(len(latents)), :, latents] = code.new_tensor(values)
    return codes
