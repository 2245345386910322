"""What a transfer predicts at its end: target by target, and the test examples that it is surest about and wrong."""

import json
from dataclasses import asdict, dataclass
from typing import Any

import torch
from pydantic import PositiveInt
from pytorch_lightning import LightningModule, Trainer
from torch import Tensor

from aetransfer.data.module import data_of
from aetransfer.evaluation.features import extracted
from aetransfer.evaluation.measure import Subject, taken
from aetransfer.files import replace_file
from aetransfer.models.capabilities import Classifies, capabilities_of
from aetransfer.store.directory import RunDirectory
from aetransfer.training.callbacks.board import AtFinalTest, as_taken
from aetransfer.training.callbacks.drawing import sheet
from aetransfer.training.callbacks.views import view_of

BATCH = 500
COLUMNS = 8


class ClassReport(AtFinalTest):
    """Of the best epoch on all test examples: accuracy by class, confusions and calibration, or errors by value, or
    scores by label, as `evaluate` writes them to evaluation/classifier.json, regression.json or labels.json.

    The first process looks at them and, of classes, at the validation images, for the temperature, once more:
    trainer.limit_test_batches is not heeded.
    """

    what = "The report by class"

    def look(self, trainer: Trainer, model: LightningModule) -> None:
        # They draw with matplotlib, which the start of a training need not wait for.
        from aetransfer.evaluation.predictions import Classification, Labels, Regression

        can = capabilities_of(model)
        measure = next((each() for each in (Classification, Regression, Labels) if each.needs in can), None)
        if measure is None:
            return
        directory, architecture = RunDirectory(self.board.directory), dict(model.hparams["architecture"])
        job, data = directory.read_config(), data_of(trainer)
        subject = Subject(directory, job, model, data, "test", model.device, architecture)
        taken(subject, measure)


@dataclass(frozen=True)
class Mistake:
    """image: its place in the test split, from 0. confidence: the softmax output of the class it was taken for."""

    image: int
    label: int
    taken_for: int
    confidence: float


def surest_mistakes(logits: Tensor, labels: Tensor, most: int) -> list[Mistake]:
    """Return wrong examples, the surest first. logits: (N, classes); labels: (N,) int64."""
    confidence, predicted = logits.double().softmax(1).max(1)
    wrong = (predicted != labels).nonzero().squeeze(1)
    order = wrong[confidence[wrong].argsort(descending=True, stable=True)][:most]
    return [
        Mistake(place, int(labels[place]), int(predicted[place]), confidence[place].item()) for place in order.tolist()
    ]


class Mistakes(AtFinalTest):
    """Draw them after the final test, with their class, what they were taken for and how surely; as a list as well.

    The test examples of all processes are looked at once more, by the first one.
    """

    needs = Classifies
    what = "view/mistakes"

    def __init__(self, directory: str, images: PositiveInt = 32):
        super().__init__(directory)
        self.images = images

    def look(self, trainer: Trainer, model: Any) -> None:
        data = data_of(trainer)
        batches = data.in_order("test", BATCH, model.device)
        mistakes = surest_mistakes(*extracted(lambda images: model(as_taken(images, model)), batches), self.images)
        names = data.class_names
        rows = [asdict(each) | {"label": names[each.label], "taken_for": names[each.taken_for]} for each in mistakes]
        replace_file(self.board.directory / "mistakes.json", json.dumps(rows, indent=1, ensure_ascii=False) + "\n")
        view = view_of(trainer, model)
        if mistakes and view is not None:
            inputs = data.inputs_at("test", torch.tensor([each.image for each in mistakes]))
            captions = [f"{row['label']}\n→ {row['taken_for']}\n{row['confidence']:.1%}" for row in rows]
            pictures = view.pictures(as_taken(inputs, model))
            picture = view.noted(sheet(pictures, min(COLUMNS, len(rows)), captions=captions, drawn=view.drawn))
            self.board.show(self.what, picture, trainer.global_step, "mistakes")
