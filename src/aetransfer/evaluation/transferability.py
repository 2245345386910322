"""How well features should serve a task, without one being trained: LogME and, of classes, the H-score."""

import math
from typing import Annotated

import numpy as np
import torch
from pydantic import Field
from sklearn.covariance import ledoit_wolf
from torch import Tensor
from torch.nn import functional as F

from aetransfer.config.nodes import PositiveInt, Seed
from aetransfer.config.schema import GivenEncoder
from aetransfer.data.draws import mixed_seed
from aetransfer.evaluation.features import Scale, fitted, layer
from aetransfer.evaluation.measure import Measure, Subject
from aetransfer.evaluation.outcome import Cell, Outcome
from aetransfer.networks.encoder import Encoder
from aetransfer.transfer.carry import initialise_, make_arm

MAX_ITERATIONS = 100


def logme(features: Tensor, targets: Tensor) -> float:
    """Return the log evidence an example and target of linear regressions onto targets (You et al. 2021).

    Prior and noise precision, alpha and beta, maximise each target's evidence by MacKay's fixed point (alg. 1).
    features: (N, D), targets: (N, T): one-hot classes, labels of 0 and 1, or values. Nats; larger is better.
    """
    targets = targets.double()
    left, singular, _ = torch.linalg.svd(features.double(), full_matrices=False)
    projected = (left.T @ targets).square()  # (R, T)
    outside = targets.square().sum(0) - projected.sum(0)  # what no weights can reach
    evidence = [
        _evidence(projected[:, target], outside[target].clamp_min(0).item(), singular.square(), *features.shape)
        for target in range(targets.shape[1])
    ]
    return sum(evidence) / len(evidence)


def _evidence(projected: Tensor, outside: float, spectrum: Tensor, count: int, dims: int) -> float:
    """Maximise the evidence of one regression, given its targets' squared projections on the singular directions."""
    alpha = beta = 1.0
    for _ in range(MAX_ITERATIONS):
        ratio = alpha / beta
        effective = (spectrum / (spectrum + ratio)).sum().item()
        weights = (spectrum * projected / (spectrum + ratio).square()).sum().item()
        error = (projected * (ratio / (spectrum + ratio)).square()).sum().item() + outside
        alpha, beta = max(effective, 1e-12) / max(weights, 1e-12), (count - effective) / max(error, 1e-12)
        if abs(alpha / beta - ratio) <= 1e-5 * ratio:
            break
    ratio = alpha / beta
    weights = (spectrum * projected / (spectrum + ratio).square()).sum().item()
    error = (projected * (ratio / (spectrum + ratio)).square()).sum().item() + outside
    determinant = (alpha + beta * spectrum).log().sum().item() + (dims - len(spectrum)) * math.log(alpha)
    total = dims * math.log(alpha) + count * math.log(beta / (2 * math.pi)) - beta * error - alpha * weights
    return (total - determinant) / 2 / count


def h_score(features: Tensor, labels: Tensor) -> float:
    """Return tr(cov(f)^+ cov(E[f | y])) (Bao et al. 2019, definition 2): at most the number of classes less one.

    features: (N, D), labels: (N,) int64. Larger is better. Where N is not many times D the score is inflated.
    """
    centred = features.double() - features.double().mean(0)
    covariance = centred.T @ centred / len(centred)
    between = _between(centred, labels)
    return (torch.linalg.pinv(covariance, hermitian=True, rtol=1e-6) @ between).trace().item()


def shrunk_h_score(features: Tensor, labels: Tensor) -> float:
    """Return the H-score with the covariance shrunk as in Ledoit & Wolf 2004 (Ibrahim et al. 2022).

    With the covariance S shrunk to (1 - a) S + a tr(S) / D I: the trace of its inverse times (1 - a) cov(E[f | y]).
    What few images inflate is taken back.
    """
    centred = (features.double() - features.double().mean(0)).numpy()
    covariance, amount = ledoit_wolf(centred, assume_centered=True)
    between = _between(torch.from_numpy(centred), labels).numpy()
    return float((1 - amount) * np.trace(np.linalg.lstsq(covariance, between, rcond=None)[0]))


def _between(centred: Tensor, labels: Tensor) -> Tensor:
    """Return the covariance of the class means that stand in for each example, (D, D)."""
    means = torch.zeros_like(centred)
    for label in labels.unique():
        means[labels == label] = centred[labels == label].mean(0)
    return means.T @ means / len(means)


def effective_rank(features: Tensor) -> float:
    """Return exp of the entropy of the normalised singular values of centred features (Roy & Vetterli 2007).

    features: (N, D). 1 for features on a line; min(N - 1, D) where no direction is preferred; 0 for constant ones.
    """
    singular = torch.linalg.svdvals(features.double() - features.double().mean(0))
    if singular.sum() == 0:
        return 0.0
    share = singular / singular.sum()
    return torch.special.entr(share).sum().exp().item()


BATCH = 500
SCORES = ("logme", "h_score", "shrunk_h_score")
# What the note says, by the kind of targets.
ONE = {"classes": "class", "values": "value, of standardised values", "labels": "label"}
OF_CLASSES = "the H-score is of classes alone"
H_SCORES = {
    "classes": "h_score: at most the classes less one (Bao et al. 2019), which many features of few examples reach by "
    "chance; shrunk_h_score takes that back (Ibrahim et al. 2022)",
    "values": OF_CLASSES,
    "labels": OF_CLASSES,
}


class Transferability(Measure):
    """LogME and, of classes, H-score of the encoder that is carried, on training examples of the data."""

    needs_labels = ("classes", "values", "labels")
    needs_memory = ("images", "max_features")

    def __init__(
        self, images: Annotated[PositiveInt, Field(ge=2)] = 10000, max_features: PositiveInt = 512, seed: Seed = 0
    ) -> None:
        self.images, self.max_features, self.seed = images, max_features, seed

    def __call__(self, subject: Subject) -> Outcome:
        """Score the encoder a transfer started from (a pretraining's own) on labelled training images of the data.

        Raises UserError where the source can't be read any more, or for data of one class.
        """
        subject.open("train")
        if (kind := subject.data.targets.kind) == "classes":
            subject.check_classes(self.name)
        # With the run's own seed the random encoder would be the one that a control began with.
        random = subject.random_encoder(mixed_seed("measure", self.seed, 0))
        encoders = {"carried": _carried(subject), "random": random}
        rows: list[dict[str, Cell]] = []
        for name, encoder in encoders.items():
            layers = subject.layers_of(encoder, "train")
            rows += [{"encoder": name, "layer": each, **_scores(subject, encoder, each, self)} for each in layers]
        (bottleneck,) = [row for row in rows if (row["encoder"], row["layer"]) == ("carried", "bottleneck")]
        return Outcome(
            rows,
            facts={"bottleneck": {score: bottleneck[score] for score in SCORES if score in bottleneck}},
            notes=[
                f"{self.images} training {subject.data.noun} of {subject.job.data.name} at most, none of val or test. "
                f"logme: log evidence, nats an example and {ONE[kind]} (You et al. 2021); {H_SCORES[kind]}. Larger is "
                "better; over a sweep, aetransfer.report sets them beside the metric that was reached."
            ],
        )


def _carried(subject: Subject) -> Encoder:
    """Return what the transfer began with: after fine-tuning, the run's own encoder has seen the labels."""
    if subject.job.stage == "pretrain":
        return subject.encoder
    encoder = subject.random_encoder(subject.job.seed)
    assert subject.job.transfer is not None
    arm = make_arm(subject.job.transfer, subject.job.allow)
    given = subject.job.pretrain if isinstance(subject.job.pretrain, GivenEncoder) else None
    initialise_(encoder.cpu(), subject.source, arm, subject.job.seed, given)
    return encoder.to(subject.device)


def _scores(subject: Subject, encoder: Encoder, name: str, settings: Transferability) -> dict[str, Cell]:
    extract = layer(encoder, name, settings.max_features)
    features, targets = subject.extracted(
        lambda images: extract(fitted(images, encoder)), "train", BATCH, settings.images
    )
    row: dict[str, Cell] = {"size": features.shape[1]}
    match subject.data.targets.kind:
        case "classes":
            one_hot = F.one_hot(targets, subject.classes)
            scores = {"h_score": h_score(features, targets), "shrunk_h_score": shrunk_h_score(features, targets)}
            return row | {"logme": logme(features, one_hot)} | scores
        case "values":
            # In other units the evidence would be another.
            targets = Scale(targets.double())(targets)
    return row | {"logme": logme(features, targets)}
