"""Frechet distances of what a model draws or reconstructs to the images it has not seen.

fid_own compares features of a small classifier trained here on the same data. It ranks models of one data set and is no
Inception FID: numbers of papers are not to be put beside it.
"""

from collections.abc import Iterable, Iterator, Sequence
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
from aetransfer.data.module import DataModule, Labelled, Part
from aetransfer.errors import UserError
from aetransfer.evaluation.features import check_finite
from aetransfer.evaluation.measure import Measure, Subject
from aetransfer.evaluation.outcome import Cell, Outcome
from aetransfer.models.capabilities import Reconstructs, Samples
from aetransfer.networks.conv4 import Conv4
from aetransfer.networks.head import Head
from aetransfer.origin import pip_install

WIDTHS = (32, 64, 128)
FEATURES = 64
FEATURE_NET_BATCH = 128
LEARNING_RATE = 1e-3
BATCH = 250


def frechet_distance(one: Tensor, other: Tensor) -> float:
    """Return |m1 - m2|^2 + tr(C1 + C2 - 2 (C1 C2)^1/2) of features (N, D) and (M, D), N, M >= 2, in float64.

    As if both were Gaussian (Heusel et al. 2017). The trace of the root is the sum of the roots of the eigenvalues of
    C1^1/2 C2 C1^1/2, which is symmetric.
    """
    (mean, covariance), (other_mean, other_covariance) = _moments(one), _moments(other)
    values, vectors = torch.linalg.eigh(covariance)
    root = vectors * values.clamp_min(0).sqrt() @ vectors.T
    shared = torch.linalg.eigvalsh(root @ other_covariance @ root).clamp_min(0).sqrt().sum()
    traces = covariance.trace() + other_covariance.trace()
    return ((mean - other_mean).square().sum() + traces - 2 * shared).clamp_min(0).item()


def _moments(features: Tensor) -> tuple[Tensor, Tensor]:
    assert len(features) >= 2, features.shape
    features = features.cpu().double()
    return features.mean(0), torch.cov(features.T).reshape(features.shape[1], -1)


class FeatureNet(torch.nn.Module):
    """A small classifier: images (N, C, S, S) in [0, 1] to features (N, 64), which a linear layer reads."""

    def __init__(self, input_shape: Sequence[int], classes: int) -> None:
        super().__init__()
        self.encoder = Conv4(input_shape=input_shape, latent_dim=FEATURES, widths=WIDTHS)
        self.head = Head(FEATURES, classes, hidden=())

    def forward(self, images: Tensor) -> Tensor:
        return self.encoder(images).relu()

    @torch.no_grad()
    def accuracy(self, batches: Iterable[Labelled]) -> float:
        hits = [self.head(self(images)).argmax(1) == labels for images, labels in batches]
        return torch.cat(hits).cpu().double().mean().item()


def train_feature_net(data: DataModule, device: torch.device, *, epochs: int, seed: int) -> FeatureNet:
    """Train on the data's training split, unaugmented. Global random state stays."""
    images, labels = (torch.cat(parts) for parts in zip(*data.in_order("train", 1000, device), strict=True))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        net = FeatureNet(images.shape[1:], len(data.class_names))
        net.encoder.normalise.set_statistics(*data.statistics())
        net.to(device)
        optimizer = torch.optim.Adam(net.parameters(), lr=LEARNING_RATE)
        for _ in range(epochs):
            for rows in torch.randperm(len(images)).split(FEATURE_NET_BATCH):
                chosen = rows.to(device)
                optimizer.zero_grad()
                F.cross_entropy(net.head(net(images[chosen])), labels[chosen]).backward()
                optimizer.step()
    return net.eval()


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
        features = torch.cat([net(images) for images in _images(subject, name, count, seed)])
        real = torch.cat([net(images) for images in _images(subject, subject.part, count, seed)])
    return frechet_distance(features, real)


@torch.no_grad()
def _images(subject: Subject, name: str, count: int, seed: int) -> Iterator[Tensor]:
    """Yield a set's images in batches, (N, C, S, S) in [0, 1], with an empty margin as the data's own have.

    Raises NoNumbersError for NaN in them.
    """
    model, margin = subject.model, subject.data.margin
    part: Part = "train" if name == "training images" else subject.part
    given = (images for images, _ in subject.data.in_order(part, BATCH, subject.device, count))
    drawn: Iterable[Tensor] | None = None
    if name == "prior samples":
        assert isinstance(model, Samples)
        generator = step_generator("sample", seed, 0, subject.device)
        drawn = (model.sample(min(BATCH, count - start), generator) for start in range(0, count, BATCH))
    elif name == "reconstructions":
        assert isinstance(model, Reconstructs)
        drawn = (model.reconstruct(images) for images in given)
    for images in given if drawn is None else (F.pad(content(each, margin), (margin,) * 4) for each in drawn):
        check_finite(images)
        yield images


def _check_inception(weights: str, name: str) -> None:
    if not Path(weights).expanduser().is_file():
        raise UserError(f"evaluation.{name}.inception_weights: {weights} does not exist.")
    try:
        import torch_fidelity  # noqa: F401
    except ImportError as error:
        raise UserError(
            f"evaluation.{name}.inception_weights needs torch-fidelity: {pip_install('inception')}, or leave it "
            "out, fid_own needs no weights."
        ) from error


def _inception(subject: Subject, name: str, count: int, settings: Fid) -> float:
    from torchmetrics.image.fid import FrechetInceptionDistance

    weights = str(Path(settings.inception_weights or "").expanduser())
    metric = FrechetInceptionDistance(normalize=True, feature_extractor_weights_path=weights)
    metric.set_dtype(torch.float64).to(subject.device)
    for real, which in ((True, str(subject.part)), (False, name)):
        for images in _images(subject, which, count, settings.seed):
            metric.update(content(images, subject.data.margin).expand(-1, 3, -1, -1), real=real)
    return metric.compute().item()
