"""What a run says about its targets: a pretraining's code while it is learnt, as a curve (val/probe_acc, _r2 or _map);
a transfer at its end, target by target, and the test examples that it is surest about and wrong.
"""

import json
from dataclasses import asdict, dataclass
from typing import Any

import torch
from pydantic import PositiveInt
from pytorch_lightning import Callback, LightningModule, Trainer
from pytorch_lightning.trainer.states import TrainerFn
from torch import Tensor

from aetransfer.data.module import data_of
from aetransfer.data.targets import Kind
from aetransfer.evaluation.features import NoNumbersError, extracted
from aetransfer.evaluation.measure import Subject, taken
from aetransfer.evaluation.probe_models import average, mean_average_precision, vote
from aetransfer.files import replace_file
from aetransfer.models.base import Task
from aetransfer.models.capabilities import Classifies, capabilities_of
from aetransfer.models.length import falls_due
from aetransfer.models.metrics import errors
from aetransfer.networks.encoder import Encoder
from aetransfer.store.directory import RunDirectory
from aetransfer.training.callbacks.board import AtFinalTest, as_taken, uncompiled
from aetransfer.training.callbacks.drawing import sheet, view_of
from aetransfer.training.strategy import is_sharded

BATCH = 500
COLUMNS = 8
CURVES = {"classes": "probe_acc", "values": "probe_r2", "labels": "probe_map"}


class OnlineProbe(Callback):
    """Predict validation examples by their nearest training examples in the code (mu of a VAE): accuracy of classes, R²
    of values, mAP of labels, of several the mean.

    It draws nothing and fits nothing, so the training is the same to the last bit with it and without.
    NaN where a code is, or where R² or mAP have no value. Where weights are sharded, the data have no targets, or they
    are what is learnt, there is no such curve.
    """

    def __init__(self, every_n_epochs: PositiveInt = 1, images: PositiveInt = 2000, neighbours: PositiveInt = 5):
        """images: of each split at most so many, evenly spaced."""
        self.every_n_epochs, self.images, self.neighbours = every_n_epochs, images, neighbours

    def on_validation_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if isinstance(pl_module, Task) or trainer.state.fn != TrainerFn.FITTING or is_sharded(trainer):
            return
        if not falls_due(trainer, self.every_n_epochs):
            return
        data, device, encoder = data_of(trainer), pl_module.device, pl_module.encoder
        assert isinstance(encoder, Encoder)
        if (kind := data.targets.kind) == "none":
            return

        def code(images: Tensor) -> Tensor:
            return encoder(as_taken(images, pl_module))

        try:
            with uncompiled(pl_module):
                codes, labels = extracted(code, data.in_order("train", BATCH, device, self.images))
                queries, truth = extracted(code, data.in_order("val", BATCH, device, self.images))
        except NoNumbersError:
            found = torch.tensor(torch.nan)
        else:
            found = self._score(kind, (codes, labels), queries, truth, len(data.targets.names))
        pl_module.log(f"val/{CURVES[kind]}", found)

    def _score(self, kind: Kind, train: tuple[Tensor, Tensor], queries: Tensor, truth: Tensor, count: int) -> Tensor:
        k = self.neighbours
        if kind == "classes":
            return (vote(*train, queries, [k], count)[k] == truth).float().mean()
        predicted = average(*train, queries, [k])[k]
        if kind == "values":
            return errors(predicted, truth)["r2"].mean()
        return torch.tensor(mean_average_precision(predicted, truth) if truth.any() else torch.nan)


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
        directory, architecture = RunDirectory(self.directory), dict(model.hparams["architecture"])
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
        replace_file(self.directory / "mistakes.json", json.dumps(rows, indent=1, ensure_ascii=False) + "\n")
        view = view_of(trainer, model)
        if mistakes and view is not None:
            inputs = data.inputs_at("test", torch.tensor([each.image for each in mistakes]))
            captions = [f"{row['label']}\n→ {row['taken_for']}\n{row['confidence']:.1%}" for row in rows]
            pictures = view.pictures(as_taken(inputs, model))
            picture = view.noted(sheet(pictures, min(COLUMNS, len(rows)), captions=captions, drawn=view.drawn))
            self.show(self.what, picture, trainer.global_step, "mistakes")
