"""A multilabel classifier, label by label."""

from torch import Tensor
from torchmetrics.functional.classification import binary_auroc

from aetransfer.evaluation.features import extracted
from aetransfer.evaluation.measure import Measure
from aetransfer.evaluation.outcome import Cell, Outcome
from aetransfer.evaluation.subject import Subject
from aetransfer.models.capabilities import TellsLabels
from aetransfer.models.metrics import average_precisions

BATCH = 500


class Labels(Measure):
    """A model that tells which labels are there, label by label; there is nothing to set."""

    needs_labels = ("labels",)
    needs = "label"

    def __call__(self, subject: Subject) -> Outcome:
        """Measure a model that tells labels."""
        model = subject.model
        assert isinstance(model, TellsLabels)
        subject.open(subject.part)
        probabilities, labels = extracted(
            lambda inputs: model.label_probabilities(inputs.to(subject.model.dtype)),
            subject.data.in_order(subject.part, BATCH, subject.device),
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
