"""Frechet distances of what a model draws or reconstructs to the images it has not seen.

fid_own compares features of a small classifier trained here on the same data. It ranks models of one data set and is no
Inception FID: numbers of papers are not to be put beside it.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor
from torch.nn import functional as F

from aetransfer.config.nodes import PositiveInt, Seed
from aetransfer.config.shapes import with_channels
from aetransfer.data.batches import content
from aetransfer.data.draws import step_generator
from aetransfer.data.module import DataModule
from aetransfer.errors import UserError
from aetransfer.evaluation.frechet import frechet_distance
from aetransfer.evaluation.measure import Measure
from aetransfer.evaluation.numbers import check_finite
from aetransfer.evaluation.outcome import Cell, Outcome
from aetransfer.evaluation.own_features import FeatureNet, train_feature_net
from aetransfer.evaluation.subject import Subject
from aetransfer.models.capabilities import Reconstructs, Samples

BATCH = 250


class Fid(Measure):
    """Frechet distances in the features of a classifier trained here, and of Inception where its weights are given."""

    needs_labels = True
    needs_memory = ("images",)
    needs = "reconstruct"

    def __init__(
        self,
        images: Annotated[PositiveInt, Field(ge=2)] = 10000,
        epochs: PositiveInt = 3,
        inception_weights: str | None = None,
        seed: Seed = 0,
    ) -> None:
        self.images, self.epochs, self.inception_weights, self.seed = images, epochs, inception_weights, seed

    def check_data(self, data: DataModule, name: str) -> None:
        """Raise UserError for inputs that no classifier of images compares."""
        if not data.takes_pixels or len(data.shape) != 3 or data.shape[0] not in (1, 3):
            raise UserError(
                f"evaluation={self.name} compares images of 8 bits in 1 or 3 channels, and {name} gives "
                f"{with_channels(data.shape)}{'' if data.takes_pixels else ', as floats'}: leave it out."
            )

    def __call__(self, subject: Subject) -> Outcome:
        """Compare sets of images. Raises UserError for sets of one image, or Inception weights out of use."""
        if self.inception_weights is not None:
            _check_inception(self.inception_weights, self.name)
        subject.open("train")
        net = train_feature_net(subject.data, subject.device, epochs=self.epochs, seed=self.seed)
        accuracy = net.accuracy(subject.data.in_order("val", BATCH, subject.device))
        subject.open(subject.part)
        # The distance falls with the number of images, so it is the same for all rows.
        there = subject.data.count("train"), subject.data.count(subject.part)
        count = min(self.images, *there)
        if count < 2:
            raise UserError(
                f"evaluation={self.name} compares sets of 2 images or more: train has {there[0]}, {subject.part} has "
                f"{there[1]}."
            )
        rows: list[dict[str, Cell]] = []
        for name in ("prior samples", "reconstructions", "training images"):
            if name == "prior samples" and not isinstance(subject.model, Samples):
                continue
            row: dict[str, Cell] = {"images": name, "n": count, "fid_own": _own(subject, net, name, count, self.seed)}
            if self.inception_weights is not None:
                row["fid_inception"] = _inception(subject, name, count, self)
            rows.append(row)
        return Outcome(
            rows,
            facts={"feature_net_val_acc": accuracy},
            notes=[
                f"Distance to the images of {subject.part}; the training images are the floor, which finite samples "
                "keep above 0. Prior samples are the means of their pixels, nothing is drawn from these. fid_own: "
                f"features of a classifier trained here for {self.epochs} epochs, {accuracy:.1%} right on val; "
                "no Inception FID."
            ],
        )


def _own(subject: Subject, net: FeatureNet, name: str, count: int, seed: int) -> float:
    with torch.no_grad():
        features = torch.cat([net(images) for images in _checked(subject, name, count, seed)])
        real = torch.cat([net(images) for images in _checked(subject, subject.part, count, seed)])
    return frechet_distance(features, real)


def _checked(subject: Subject, name: str, count: int, seed: int) -> Iterator[Tensor]:
    """Yield as `_set`. Raises NoNumbersError for a set with NaN in it."""
    for images in _set(subject, name, count, seed):
        check_finite(images)
        yield images


@torch.no_grad()
def _set(subject: Subject, name: str, count: int, seed: int) -> Iterator[Tensor]:
    """Yield a set's images in batches, (N, C, S, S) in [0, 1], with an empty margin as the data's own have."""
    model, margin = subject.model, subject.data.margin
    match name:
        case "prior samples":
            assert isinstance(model, Samples)
            generator = step_generator("sample", seed, 0, subject.device)
            for start in range(0, count, BATCH):
                samples = model.sample(min(BATCH, count - start), generator)
                yield F.pad(content(samples, margin), (margin,) * 4)
        case "reconstructions":
            assert isinstance(model, Reconstructs)
            for images, _ in subject.data.in_order(subject.part, BATCH, subject.device, count):
                yield F.pad(content(model.reconstruct(images), margin), (margin,) * 4)
        case "training images":
            yield from (images for images, _ in subject.data.in_order("train", BATCH, subject.device, count))
        case _:
            yield from (images for images, _ in subject.data.in_order(subject.part, BATCH, subject.device, count))


def _check_inception(weights: str, name: str) -> None:
    if not Path(weights).expanduser().is_file():
        raise UserError(f"evaluation.{name}.inception_weights: {weights} does not exist.")
    try:
        import torch_fidelity  # noqa: F401
    except ImportError as error:
        raise UserError(
            f"evaluation.{name}.inception_weights needs torch-fidelity: pip install 'aetransfer[inception]', or leave "
            "it out, fid_own needs no weights."
        ) from error


def _inception(subject: Subject, name: str, count: int, settings: Fid) -> float:
    from torchmetrics.image.fid import FrechetInceptionDistance

    weights = str(Path(settings.inception_weights or "").expanduser())
    metric = FrechetInceptionDistance(normalize=True, feature_extractor_weights_path=weights)
    metric.set_dtype(torch.float64).to(subject.device)
    for real, which in ((True, str(subject.part)), (False, name)):
        for images in _checked(subject, which, count, settings.seed):
            metric.update(content(images, subject.data.margin).expand(-1, 3, -1, -1), real=real)
    return metric.compute().item()
