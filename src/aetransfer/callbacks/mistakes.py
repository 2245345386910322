"""The test examples that a classifier is surest about and wrong."""

import json
from dataclasses import asdict, dataclass
from typing import Any

import torch
from pydantic import PositiveInt
from pytorch_lightning import Trainer
from torch import Tensor

from aetransfer.callbacks.board import as_taken
from aetransfer.callbacks.drawing import sheet
from aetransfer.callbacks.looking import LookAtTheTest
from aetransfer.callbacks.views import view_of
from aetransfer.data.module import data_of
from aetransfer.evaluation.features import extracted
from aetransfer.models.capabilities import Classifies
from aetransfer.runs.files import replace_file

BATCH = 500
COLUMNS = 8


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


class Mistakes(LookAtTheTest):
    """Draw them after the final test, with their class, what they were taken for and how surely; as a list as well.

    The test examples of all processes are looked at once more, by the first one.
    """

    needs = Classifies
    what = "mistakes/test"

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
