"""What a transfer predicts, beyond its metrics.

A classifier class by class: what it confuses with what, and whether it is as sure as right. A multilabel classifier
label by label. A regressor value by value in their units, beside what a constant would do.
"""

import torch
from torch import Tensor
from torch.nn import functional as F
from torchmetrics.functional.classification import binary_auroc

from aetransfer.data.module import Part
from aetransfer.evaluation.measure import Measure, Subject
from aetransfer.evaluation.outcome import Cell, Outcome, known
from aetransfer.evaluation.pictures import heatmap, predicted_against_true, reliability_diagram
from aetransfer.models.capabilities import Classifies, Regresses, TellsLabels
from aetransfer.models.metrics import average_precisions, errors, fit_temperature, reliability

BATCH = 500
# Panels of a picture.
MOST_DRAWN = 6


class Classification(Measure):
    """A model that classifies, class by class, and its calibration; there is nothing to set."""

    name = "classifier"
    needs_labels = True
    needs = "classify"

    def __call__(self, subject: Subject) -> Outcome:
        model = subject.model
        assert isinstance(model, Classifies)

        def outputs(part: Part) -> tuple[Tensor, Tensor]:
            return subject.extracted(lambda images: model(images.to(model.dtype)), part, BATCH)

        temperature = fit_temperature(*outputs("val"))
        logits, labels = outputs(subject.part)
        names, noun = subject.data.class_names, subject.data.noun
        counts = confusion(logits.argmax(1), labels, len(names))
        # NaN for a class without examples.
        shares = counts.double() / counts.sum(1, keepdim=True)
        curves = {
            "as trained": reliability(logits, labels),
            f"T = {temperature:.3g}": reliability(logits / temperature, labels),
        }
        before, after = curves.values()
        nll, scaled_nll = (F.cross_entropy(each.double(), labels).item() for each in (logits, logits / temperature))
        rows: list[dict[str, Cell]] = [
            {
                "class": name,
                noun: int(counts[place].sum()),
                **(
                    {"acc": shares[place, place].item(), **_mistake(shares, place, names)}
                    if counts[place].any()
                    else {}
                ),
            }
            for place, name in enumerate(names)
        ]
        accuracy = counts.diagonal().sum().item() / len(labels)
        return Outcome(
            [*rows, {"class": "all", noun: len(labels), "acc": accuracy}],
            facts={
                "confusion": counts.tolist(),
                "temperature": temperature,
                "ece": before.error,
                "ece_scaled": after.error,
                "nll": nll,
                "nll_scaled": scaled_nll,
            },
            notes=[
                f"ECE ({len(before.count)} equal bins) {before.error:.4f}, nll {nll:.4f}; with the temperature "
                f"{temperature:.3g}, fitted on val, {after.error:.4f} and {scaled_nll:.4f}."
            ],
            pictures={
                "confusion": heatmap(
                    shares.tolist(),
                    names,
                    names,
                    title=f"Of each class's {noun}, the share taken for ({subject.part})",
                    row_label="class",
                    column_label="taken for",
                ),
                "reliability": reliability_diagram(curves),
            },
        )


def confusion(predicted: Tensor, labels: Tensor, classes: int) -> Tensor:
    """Count (classes, classes) examples by their class (rows) and what they were taken for."""
    return torch.bincount(labels * classes + predicted, minlength=classes * classes).view(classes, classes)


def _mistake(shares: Tensor, place: int, names: tuple[str, ...]) -> dict[str, Cell]:
    others = shares[place].clone()
    others[place] = -1
    most = int(others.argmax())
    return {"most often taken for": names[most], "share": others[most].item()} if others[most] > 0 else {}


class Labels(Measure):
    """A model that tells which labels are there, label by label; there is nothing to set."""

    name = "labels"
    needs_labels = ("labels",)
    needs = "label"

    def __call__(self, subject: Subject) -> Outcome:
        model = subject.model
        assert isinstance(model, TellsLabels)
        probabilities, labels = subject.extracted(
            lambda inputs: model.label_probabilities(inputs.to(subject.model.dtype)), subject.part, BATCH
        )
        names = subject.data.targets.names
        rows = [{"label": name, **_row(probabilities[:, at], labels[:, at].long())} for at, name in enumerate(names)]
        means: dict[str, Cell] = {}
        for score in ("ap", "chance", "auroc", "f1"):
            each = [value for row in rows if isinstance(value := row[score], float)]
            means[score] = sum(each) / len(each) if each else None
        absent = [name for name, row in zip(names, rows, strict=True) if row["ap"] is None]
        return Outcome(
            [*rows, {"label": "all", "examples": len(labels), **means}],
            notes=[
                "examples: those that have the label. ap: average precision, chance: what a guess reaches, the share "
                "that has the label. f1, precision and recall at a probability of 0.5. all: means of what is there.",
                *([f"No {subject.part} example has {', '.join(absent)}."] if absent else []),
            ],
        )


def _row(probabilities: Tensor, labels: Tensor) -> dict[str, Cell]:
    """Return the scores of one label. probabilities, labels: (N,)."""
    predicted, there = probabilities > 0.5, labels.bool()
    right, positives, said = (int(each.sum()) for each in (predicted & there, there, predicted))
    one = probabilities.unsqueeze(1), labels.unsqueeze(1)
    return {
        "examples": positives,
        "ap": average_precisions(*one).item() if positives else None,
        "chance": positives / len(labels) if positives else None,
        "auroc": binary_auroc(probabilities, labels).item() if 0 < positives < len(labels) else None,
        "f1": 2 * right / (positives + said) if positives + said else None,
        "precision": right / said if said else None,
        "recall": right / positives if positives else None,
    }


class Regression(Measure):
    """A model that predicts values, value by value; there is nothing to set."""

    name = "regression"
    needs_labels = ("values",)
    needs = "regress"

    def __call__(self, subject: Subject) -> Outcome:
        model = subject.model
        assert isinstance(model, Regresses)
        subject.open("train")
        predicted, wanted = subject.extracted(
            lambda inputs: model.values(inputs.to(subject.model.dtype)), subject.part, BATCH
        )
        predicted, wanted = predicted.double(), wanted.double()
        names = subject.data.targets.names
        constant = subject.data.training_targets().double().mean(0).expand_as(wanted)
        scores, of_mean, bias = errors(predicted, wanted), errors(constant, wanted), (predicted - wanted).mean(0)
        rows: list[dict[str, Cell]] = [
            {
                "value": name,
                **{score: known(each[place].item()) for score, each in scores.items()},
                "bias": bias[place].item(),
                "mae_of_mean": of_mean["mae"][place].item(),
            }
            for place, name in enumerate(names)
        ]
        if len(names) > 1:
            rows.append({"value": "all", **{score: known(each.mean().item()) for score, each in scores.items()}})
        unknown = [name for name, row in zip(names, rows, strict=False) if row["r2"] is None]
        return Outcome(
            rows,
            notes=[
                f"{len(wanted):,} examples of {subject.part}, in the units of the values. bias: mean of predicted less "
                "true. mae_of_mean: the error of always predicting the training mean.",
                *([f"r2: all these examples have the same {', '.join(unknown)}."] if unknown else []),
                *([f"The picture shows the first {MOST_DRAWN} of {len(names)}."] if len(names) > MOST_DRAWN else []),
            ],
            pictures={
                "predicted": predicted_against_true(
                    {name: (wanted[:, place], predicted[:, place]) for place, name in enumerate(names[:MOST_DRAWN])},
                    title=f"{subject.job.data.name}, {subject.part}",
                )
            },
        )
