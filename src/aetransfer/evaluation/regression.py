"""A regressor beyond its mean error: value by value in their units, beside what a constant would do."""

from torch import Tensor

from aetransfer.evaluation.features import extracted
from aetransfer.evaluation.measure import Measure
from aetransfer.evaluation.outcome import Cell, Outcome
from aetransfer.evaluation.pictures import predicted_against_true
from aetransfer.evaluation.subject import Subject
from aetransfer.models.capabilities import Regresses
from aetransfer.models.metrics import errors

BATCH = 500
# Panels of a picture.
MOST_DRAWN = 6


class Regression(Measure):
    """A model that predicts values, value by value; there is nothing to set."""

    needs_labels = ("values",)
    needs = "regress"

    def __call__(self, subject: Subject) -> Outcome:
        """Measure a model that predicts values."""
        model = subject.model
        assert isinstance(model, Regresses)
        subject.open("train")
        subject.open(subject.part)
        predicted, wanted = extracted(
            lambda inputs: model.values(inputs.to(subject.model.dtype)),
            subject.data.in_order(subject.part, BATCH, subject.device),
        )
        predicted, wanted = predicted.double(), wanted.double()
        names = subject.data.targets.names
        constant = subject.data.training_targets().double().mean(0).expand_as(wanted)
        scores, of_mean, bias = errors(predicted, wanted), errors(constant, wanted), (predicted - wanted).mean(0)
        rows: list[dict[str, Cell]] = [
            {
                "value": name,
                **{score: known(each[place]) for score, each in scores.items()},
                "bias": bias[place].item(),
                "mae_of_mean": of_mean["mae"][place].item(),
            }
            for place, name in enumerate(names)
        ]
        if len(names) > 1:
            rows.append({"value": "all", **{score: known(each.mean()) for score, each in scores.items()}})
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


def known(value: Tensor) -> float | None:
    """Return a number () as a cell, None for NaN."""
    return None if value.isnan() else value.item()
