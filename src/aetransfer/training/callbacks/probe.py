"""What a pretraining's code says about the targets while it is learnt, as a curve: val/probe_acc, _r2 or _map."""

import torch
from pydantic import PositiveInt
from pytorch_lightning import Callback, LightningModule, Trainer
from pytorch_lightning.trainer.states import TrainerFn
from torch import Tensor

from aetransfer.data.module import data_of
from aetransfer.data.targets import Kind
from aetransfer.evaluation.features import NoNumbersError, extracted
from aetransfer.evaluation.probe_models import average, mean_average_precision, vote
from aetransfer.models.base import Task
from aetransfer.models.length import falls_due
from aetransfer.models.metrics import errors
from aetransfer.networks.encoder import Encoder
from aetransfer.training.callbacks.board import as_taken, uncompiled
from aetransfer.training.sharded import is_sharded

BATCH = 500
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
        if trainer.sanity_checking or not falls_due(trainer, self.every_n_epochs):
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
