"""The small models that probes are, for each kind of targets: how they are fitted, chosen on validation, and scored."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from aetransfer.evaluation.features import Scale
from aetransfer.evaluation.outcome import Cell
from aetransfer.evaluation.predictions import known
from aetransfer.evaluation.probe_models import average, fit_logistic, fit_perceptron, fit_ridge, vote
from aetransfer.models.metrics import average_precisions, errors

Split = tuple[Tensor, Tensor]  # features (N, D) float32, targets as a Batch has them
Predict = Callable[[Tensor], Tensor]
Score = Callable[[Tensor, Tensor], float]


class Settings(Protocol):
    """The keys of `aetransfer.evaluation.probes.Probes` that a fit reads."""

    neighbours: Sequence[int]
    inverse_penalties: Sequence[float]
    penalties: Sequence[float]
    hidden: Sequence[int]
    mlp_epochs: int
    seed: int


@dataclass(frozen=True)
class Chosen:
    """setting: what validation chose, as a heading and its value. predict: features as extracted -> predictions."""

    setting: dict[str, Cell]
    predict: Predict


Fit = Callable[[Split, Split, int, Settings], Chosen]


@dataclass(frozen=True)
class Kind:
    """fits: by the probe's name. cells: what a table says of the predictions of a probe, by headings."""

    fits: Mapping[str, Fit]
    cells: Callable[[str, Tensor, Tensor], dict[str, Cell]]
    said: str


def _accuracy(predicted: Tensor, labels: Tensor) -> float:
    return (predicted == labels).double().mean().item()


def mean_average_precision(scores: Tensor, labels: Tensor) -> float:
    """Return the mean over the labels that occur, -infinity where none does. scores in [0, 1], labels: (N, T)."""
    occurs = labels.any(0)
    if not occurs.any():
        return -torch.inf
    return average_precisions(scores[:, occurs], labels[:, occurs].long()).mean().item()


def _closeness(train: Split) -> Score:
    """Return a score of values: their mean absolute error in deviations of the training ones, less than nothing."""
    deviation = train[1].std(0, correction=0)
    # One that never varies in training says nothing about a fit.
    unit = deviation.where(deviation > 0, torch.inf)
    return lambda predicted, wanted: -((predicted - wanted).abs() / unit).mean().item()


def _knn(train: Split, val: Split, classes: int, settings: Settings) -> Chosen:
    def predictions(features: Tensor, neighbours: Sequence[int]) -> dict[int, Tensor]:
        return vote(*train, features, neighbours, classes)

    return _nearest(predictions, val, settings, _accuracy)


def _knn_mean(train: Split, val: Split, count: int, settings: Settings, score: Score) -> Chosen:
    return _nearest(lambda features, neighbours: average(*train, features, neighbours), val, settings, score)


def _nearest(
    predictions: Callable[[Tensor, Sequence[int]], dict[int, Tensor]], val: Split, settings: Settings, score: Score
) -> Chosen:
    scores = {k: score(predicted, val[1]) for k, predicted in predictions(val[0], settings.neighbours).items()}
    best = max(sorted(scores), key=lambda k: scores[k])
    return Chosen({"k": best}, lambda features: predictions(features, [best])[best])


def _logistic(train: Split, val: Split, count: int, settings: Settings) -> Chosen:
    scale = Scale(train[0])
    many = train[1].ndim == 2
    fitted = fit_logistic(
        (scale(train[0]), train[1]),
        (scale(val[0]), val[1]),
        classes=count,
        inverse_penalties=settings.inverse_penalties,
        score=mean_average_precision if many else _accuracy,
    )
    predict = fitted.probabilities if many else fitted.predict
    return Chosen({"C": fitted.inverse_penalty}, lambda features: predict(scale(features)))


def _mlp(train: Split, val: Split, classes: int, settings: Settings) -> Chosen:
    scale = Scale(train[0])
    fitted = fit_perceptron(
        (scale(train[0]), train[1]),
        (scale(val[0]), val[1]),
        classes=classes,
        hidden=settings.hidden,
        epochs=settings.mlp_epochs,
        seed=settings.seed,
    )
    return Chosen({"epoch": fitted.epoch}, lambda features: fitted.predict(scale(features)))


def _ridge(train: Split, val: Split, count: int, settings: Settings) -> Chosen:
    scale = Scale(train[0])
    fitted = fit_ridge(
        (scale(train[0]), train[1]),
        (scale(val[0]), val[1]),
        penalties=settings.penalties,
        score=_closeness(train),
    )
    return Chosen({"alpha": fitted.penalty}, lambda features: fitted.predict(scale(features)))


def _cells_of_values(name: str, predicted: Tensor, wanted: Tensor) -> dict[str, Cell]:
    scores = errors(predicted.double(), wanted.double())
    return {f"{name}_{score}": known(scores[score].mean()) for score in ("mae", "r2")}


def _cells_of_labels(name: str, predicted: Tensor, labels: Tensor) -> dict[str, Cell]:
    return {name: mean_average_precision(predicted, labels) if labels.any() else None}


KINDS = {
    "classes": Kind(
        fits={"knn": _knn, "logistic": _logistic, "mlp": _mlp},
        cells=lambda name, predicted, labels: {name: _accuracy(predicted, labels)},
        said="Accuracy on {part}; k, C and the MLP's epoch were chosen on val (val_ in the file). knn: Euclidean, "
        "features as they are; logistic and mlp: standardised features.",
    ),
    "values": Kind(
        fits={
            "knn": lambda train, val, count, settings: _knn_mean(train, val, count, settings, _closeness(train)),
            "ridge": _ridge,
        },
        cells=_cells_of_values,
        said="Mean absolute error in the values' units and R² on {part}, of several values the mean; k and alpha were "
        "chosen on val (val_ in the file). knn: mean of the nearest, Euclidean, features as they are; ridge: "
        "standardised features.",
    ),
    "labels": Kind(
        fits={
            "knn": lambda train, val, count, settings: _knn_mean(train, val, count, settings, mean_average_precision),
            "logistic": _logistic,
        },
        cells=_cells_of_labels,
        said="mAP on {part}, over the labels that occur there; k and C were chosen on val (val_ in the file). knn: "
        "share of the nearest that have a label, Euclidean, features as they are; logistic: each label by itself, "
        "standardised features.",
    ),
}
