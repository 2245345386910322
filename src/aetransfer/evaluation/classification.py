"""A classifier beyond its accuracy: class by class, what it confuses with what, and whether it is as sure as right."""

import torch
from torch import Tensor

from aetransfer.data.module import Part
from aetransfer.evaluation.calibration import fit_temperature, mean_nll, reliability
from aetransfer.evaluation.features import extracted
from aetransfer.evaluation.measure import Measure
from aetransfer.evaluation.outcome import Cell, Outcome
from aetransfer.evaluation.pictures import heatmap, reliability_diagram
from aetransfer.evaluation.subject import Subject
from aetransfer.models.capabilities import Classifies

BATCH = 500


class Classification(Measure):
    """A model that classifies, class by class, and its calibration; there is nothing to set."""

    needs_labels = True
    needs = "classify"

    def __call__(self, subject: Subject) -> Outcome:
        """Measure a model that classifies."""
        model = subject.model
        assert isinstance(model, Classifies)

        def outputs(part: Part) -> tuple[Tensor, Tensor]:
            subject.open(part)
            return extracted(
                lambda images: model(images.to(model.dtype)), subject.data.in_order(part, BATCH, subject.device)
            )

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
        nll, scaled_nll = mean_nll(logits, labels), mean_nll(logits / temperature, labels)
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
