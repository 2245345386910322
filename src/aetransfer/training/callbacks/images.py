"""What a model makes of its inputs, draws from its prior and has for first filters: for TensorBoard, and as PNG."""

from typing import Any

import torch
from PIL import Image
from pydantic import PositiveInt
from pytorch_lightning import LightningModule, Trainer
from torch import Tensor

from aetransfer.config.shapes import one_of
from aetransfer.data.batches import content
from aetransfer.data.draws import step_generator
from aetransfer.data.module import Part, data_of
from aetransfer.evaluation.features import extracted
from aetransfer.models.capabilities import HasPosterior, Reconstructs, Samples
from aetransfer.networks.encoder import Encoder
from aetransfer.store.directory import RunDirectory
from aetransfer.training.callbacks.board import AtFinalTest, EpochPicture, as_taken, fixed_inputs
from aetransfer.training.callbacks.drawing import FloatImages, Pixels, Signals, View, beside, sheet, view_of

# Pixels across a drawn panel, of which many stand in a row.
NARROW = 96
# Where a latent is moved to. The prior's deviation is 1, so these are latent units too.
DEVIATIONS = [place / 2 for place in range(-6, 7)]
# Validation examples that a latent's variance is taken over.
EXAMPLES, BATCH = 1000, 250
# Of filters: how many stand in a row, and how many are shown, as more are not told apart.
COLUMNS, MOST = 8, 64
# Of a filter that is a line, in pixels; a lane of a channel has at least a third of this height.
WIDTH, HEIGHT = 72, 56


class ReconstructionGrid(EpochPicture, AtFinalTest):
    """Images, their reconstructions and how far each pixel is off, in three rows by turns; signals and vectors in one
    panel each, with their reconstruction over them.

    While it trains, of fixed validation examples; at the final test, once, of fixed test examples.
    """

    needs = Reconstructs
    tag, file = "view/reconstructions/val", "reconstructions"
    what = "view/reconstructions/test"

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
            self.show(self.what, picture, trainer.global_step, "reconstructions_test")

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


class PriorSamples(EpochPicture):
    """What a model draws from its prior, from the same codes each time."""

    needs = Samples
    tag, file = "view/latents/prior_samples", "prior_samples"

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


class Interpolations(EpochPicture):
    """Decode the straight line between the codes of two validation examples (mu of a VAE), a pair a row."""

    needs = Reconstructs
    tag, file = "view/latents/interpolations", "interpolations"

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


class Traversals(EpochPicture):
    """Move one latent of a VAE at a time, from -3 to 3 deviations of the prior, all others as a validation example has
    them: a latent a row, those first whose mu varies most over the validation examples. The last column says where the
    two ends of the row differ.
    """

    needs = HasPosterior
    tag, file = "view/latents/traversals", "traversals"

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


class FirstLayerFilters(AtFinalTest):
    """Draw the first layer's filters beside what they were, on one scale: of a transfer, as they were carried.

    Zero is mid-grey; filters of three channels are coloured, of more are shown their mean. Those of a convolution over
    signals are lines, a lane a channel. An encoder that does not begin with a convolution has no such picture.
    """

    what = "view/first_layer"

    def __init__(self, directory: str):
        super().__init__(directory)
        self._before: Tensor | None = None

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        super().setup(trainer, pl_module, stage)
        # A checkpoint that the run goes on from is loaded after this.
        if stage == "fit" and self.can_draw(trainer):
            with self.drawing(self.what, pl_module):
                self._before = first_filters(pl_module)

    def look(self, trainer: Trainer, model: LightningModule) -> None:
        if self._before is None:
            return
        after = first_filters(model)
        assert after is not None
        most = max(self._before.abs().max().item(), after.abs().max().item()) or 1.0
        if self._before.ndim == 3:
            lines = Signals(torch.tensor([-most, most]).expand(1, after.shape[1], 2), WIDTH, HEIGHT)
            halves = [sheet(lines.pictures(each[:MOST]), COLUMNS, drawn=True) for each in (self._before, after)]
        else:
            halves = [sheet(signed(each[:MOST], most), COLUMNS) for each in (self._before, after)]
        carried = (RunDirectory(self.directory).result() or {}).get("source") is not None
        ends = "bottom to top" if self._before.ndim == 3 else "white and black"
        heads = ["as carried" if carried else "before training", f"at the best epoch ({ends}: ±{most:.2g})"]
        self.show(self.what, beside(halves, heads), trainer.global_step, "first_layer")


def signed(values: Tensor, most: float) -> Tensor:
    """Map [-most, most] to [0, 1]: zero is mid-grey."""
    return (0.5 + 0.5 * values / most).clamp(0, 1)


def first_filters(model: LightningModule) -> Tensor | None:
    """Return a copy of the first convolution's weights on the CPU, (N, 1 or 3, H, W) or (N, C, K) of one over signals.

    Of more channels their mean is taken. None where it does not begin with a convolution.
    """
    assert isinstance(model.encoder, Encoder)
    first = next(module for module in model.encoder.modules_of_layers()[0] if list(module.parameters(recurse=False)))
    weight = getattr(first, "weight", None)
    if not isinstance(weight, Tensor) or weight.ndim not in (3, 4):
        return None
    copied = weight.detach().to("cpu", torch.float32, copy=True)
    return copied if weight.ndim == 3 or weight.shape[1] in (1, 3) else copied.mean(1, keepdim=True)
