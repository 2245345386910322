"""Probes: how well small models read the targets off frozen features, beside features that nothing was learnt for.

Everything a probe chooses (k, C, the epoch of the MLP) it chooses on the validation split; the reported split is read
once, by what was chosen.
"""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Annotated, Literal

from pydantic import Field
from torch import Tensor

from aetransfer.config.nodes import PositiveFloat, PositiveInt, Seed
from aetransfer.data.module import Part
from aetransfer.data.targets import Kind
from aetransfer.errors import UserError
from aetransfer.evaluation.features import Extract, Scale, fit_pca, layer, shrunk
from aetransfer.evaluation.measure import Measure, Subject
from aetransfer.evaluation.outcome import Cell, Outcome, known
from aetransfer.evaluation.probe_models import (
    Split,
    accuracy,
    average,
    closeness,
    fit_logistic,
    fit_perceptron,
    fit_ridge,
    mean_average_precision,
    vote,
)
from aetransfer.models.metrics import errors as errors_of
from aetransfer.networks.encoder import Encoder
from aetransfer.training import errors

ENCODE_BATCH = 500
# As many as the article's bottleneck.
COMPONENTS = 128
# Of an image as its own baseline: 36x36 in colour, 64x64 in grey. What is fitted to them takes the square of it.
MOST_PIXELS = 64 * 64
# Which probes read a kind of targets, and what the note says of them.
PROBES = {"classes": ("knn", "logistic", "mlp"), "values": ("knn", "ridge"), "labels": ("knn", "logistic")}
SAID = {
    "classes": "Accuracy on {part}; k, C and the MLP's epoch were chosen on val (val_ in the file). knn: Euclidean, "
    "features as they are; logistic and mlp: standardised features.",
    "values": "Mean absolute error in the values' units and R² on {part}, of several values the mean; k and alpha were "
    "chosen on val (val_ in the file). knn: mean of the nearest, Euclidean, features as they are; ridge: standardised "
    "features.",
    "labels": "mAP on {part}, over the labels that occur there; k and C were chosen on val (val_ in the file). knn: "
    "share of the nearest that have a label, Euclidean, features as they are; logistic: each label by itself, "
    "standardised features.",
}


class Probes(Measure):
    """Small models on frozen features, each beside those on features that nothing was learnt for."""

    needs_labels = ("classes", "values", "labels")
    needs_memory = ("max_features",)

    def __init__(
        self,
        probes: Annotated[Sequence[Literal["knn", "logistic", "mlp", "ridge"]], Field(min_length=1)] | None = None,
        baselines: Sequence[Literal["random", "pixels", "pca"]] = ("random", "pixels", "pca"),
        layers: Annotated[Sequence[str], Field(min_length=1)] | None = None,
        max_features: PositiveInt = 1024,
        neighbours: Annotated[Sequence[PositiveInt], Field(min_length=1)] = (1, 5, 20),
        inverse_penalties: Annotated[Sequence[PositiveFloat], Field(min_length=1)] = (1e-4, 1e-3, 1e-2, 1e-1, 1.0),
        penalties: Annotated[Sequence[PositiveFloat], Field(min_length=1)] = (1e-3, 1e-2, 0.1, 1, 10, 1e2, 1e3, 1e4),
        hidden: Sequence[PositiveInt] = (256,),
        mlp_epochs: PositiveInt = 20,
        seed: Seed = 0,
    ) -> None:
        self.probes, self.baselines, self.layers, self.max_features = probes, baselines, layers, max_features
        self.neighbours, self.inverse_penalties, self.penalties = neighbours, inverse_penalties, penalties
        self.hidden, self.mlp_epochs, self.seed = hidden, mlp_epochs, seed

    def __call__(self, subject: Subject) -> Outcome:
        """Probe the layers of a run's encoder and the baselines.

        Raises UserError for a layer that there is not, a probe that does not read the data's targets, or data of one
        class.
        """
        subject.open("train")
        probes = self._probes(subject)
        encoder = subject.encoder
        sources: list[tuple[str, Encoder]] = [(subject.job.stage, encoder)]
        if "random" in self.baselines:
            sources.append(("random", subject.random_encoder(self.seed)))
        names = _layers(subject, encoder, self)
        untrained = subject.facts.untrained
        rows = [
            {
                "features": source,
                # A layer that the run's own pretext has left as it was is named so.
                "layer": f"{name} (untrained)" if network is encoder and name in untrained else name,
                **_row(subject, self, probes, layer(network, name, self.max_features)),
            }
            for source, network in sources
            for name in names
        ]
        words: list[str] = []
        with errors.memory_for(f"leave pixels and pca out of evaluation.{self.name}.baselines"):
            if "pixels" in self.baselines:
                raw = "pixels" if subject.data.takes_pixels else "inputs"
                rows.append({"features": raw, "layer": "", **_row(subject, self, probes, _raw(subject))})
            if "pca" in self.baselines:
                project, word = _pca(subject)
                words += [word] if word else []
                rows.append({"features": "pca", "layer": "", **_row(subject, self, probes, project)})
        said = SAID[subject.data.targets.kind].format(part=subject.part)
        notes = [f"{said} {subject.data.count('train')} training {subject.data.noun}."]
        if not subject.data.takes_pixels:
            notes.append("inputs and pca: of inputs standardised by the training ones.")
        return Outcome(rows, notes=[*notes, *_of_large_images(subject, self), *words])

    def _probes(self, subject: Subject) -> Sequence[str]:
        targets, data = subject.data.targets, subject.job.data.name
        if targets.kind == "classes":
            subject.check_classes(self.name)
        fitting = PROBES[targets.kind]
        for probe in self.probes or ():
            if probe not in fitting:
                raise UserError(
                    f"evaluation.{self.name}.probes: {probe} does not read {targets.kind}, which {data} has: choose of "
                    f"{', '.join(fitting)}."
                )
        return self.probes or fitting


def _of_large_images(subject: Subject, settings: Probes) -> list[str]:
    first = subject.data.first_inputs("train", 1)
    small = shrunk(first, MOST_PIXELS)
    if small.shape == first.shape or not {"pixels", "pca"} & set(settings.baselines):
        return []
    size = "x".join(map(str, small.shape[2:]))
    return [f"pixels and pca: of {subject.data.noun} averaged to {size}, at most {MOST_PIXELS} numbers."]


def _layers(subject: Subject, encoder: Encoder, settings: Probes) -> Sequence[str]:
    layers = subject.layers_of(encoder, "train")
    for name in settings.layers or ():
        if name not in layers:
            raise UserError(
                f"evaluation.{settings.name}.layers: the encoder has no {name}, its layers are {', '.join(layers)}."
            )
    return settings.layers or layers


def _row(subject: Subject, settings: Probes, probes: Sequence[str], extract: Extract) -> dict[str, Cell]:
    def read(part: Part) -> Split:
        return subject.extracted(extract, part, ENCODE_BATCH)

    kind, count = subject.data.targets.kind, len(subject.data.targets.names)
    train, val = read("train"), read("val")
    chosen = {name: _fitted(name, kind, train, val, count, settings) for name in probes}
    features, targets = val if subject.part == "val" else read(subject.part)
    row: dict[str, Cell] = {"size": features.shape[1]}
    for name, (setting, predict) in chosen.items():
        row |= _cells(kind, name, predict(features), targets)
        row |= _cells(kind, f"val_{name}", predict(val[0]), val[1])
        row |= setting
    return row


def _fitted(
    probe: str, kind: Kind, train: Split, val: Split, count: int, settings: Probes
) -> tuple[dict[str, Cell], Callable[[Tensor], Tensor]]:
    """Fit a probe and choose its setting on validation: that, by its heading, and what predicts from features.

    count: of classes, values or labels.
    """
    score = closeness(train[1]) if kind == "values" else accuracy if kind == "classes" else mean_average_precision
    if probe == "knn":
        predictions = partial(vote, *train, classes=count) if kind == "classes" else partial(average, *train)
        scores = {k: score(each, val[1]) for k, each in predictions(val[0], settings.neighbours).items()}
        best = max(sorted(scores), key=lambda k: scores[k])
        return {"k": best}, lambda features: predictions(features, [best])[best]
    scale = Scale(train[0])
    train, val = (scale(train[0]), train[1]), (scale(val[0]), val[1])
    setting: dict[str, Cell]
    predict: Callable[[Tensor], Tensor]
    match probe:
        case "logistic":
            logistic = fit_logistic(
                train, val, classes=count, inverse_penalties=settings.inverse_penalties, score=score
            )
            setting = {"C": logistic.inverse_penalty}
            predict = logistic.predict if kind == "classes" else logistic.probabilities
        case "ridge":
            predict, penalty = fit_ridge(train, val, penalties=settings.penalties, score=score)
            setting = {"alpha": penalty}
        case _:
            mlp = fit_perceptron(
                train, val, classes=count, hidden=settings.hidden, epochs=settings.mlp_epochs, seed=settings.seed
            )
            setting, predict = {"epoch": mlp.epoch}, mlp.predict
    return setting, lambda features: predict(scale(features))


def _cells(kind: Kind, name: str, predicted: Tensor, targets: Tensor) -> dict[str, Cell]:
    """Return what the table says of a probe's predictions, by headings."""
    if kind == "classes":
        return {name: accuracy(predicted, targets)}
    if kind == "labels":
        return {name: mean_average_precision(predicted, targets) if targets.any() else None}
    scores = errors_of(predicted.double(), targets.double())
    return {f"{name}_{score}": known(scores[score].mean().item()) for score in ("mae", "r2")}


def _raw(subject: Subject) -> Extract:
    """Return what makes vectors of inputs as they are; floats are standardised, for their units are arbitrary."""
    mean, deviation = (each.to(subject.device) for each in subject.data.statistics())

    def flat(inputs: Tensor) -> Tensor:
        if not subject.data.takes_pixels:
            axes = [-1, *[1] * (inputs.ndim - 2)]
            inputs = (inputs - mean.view(axes)) / deviation.view(axes)
        return shrunk(inputs, MOST_PIXELS).flatten(1)

    return flat


def _pca(subject: Subject) -> tuple[Extract, str]:
    raw = _raw(subject)
    batches = subject.data.in_order("train", ENCODE_BATCH, subject.device)
    flat = (raw(inputs).float().cpu() for inputs, _ in batches)
    fitted, word = fit_pca(flat, subject.data.count("train"), COMPONENTS)
    return lambda inputs: fitted(raw(inputs).cpu()), word
