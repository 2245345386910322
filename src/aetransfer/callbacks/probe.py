"""What a pretraining's code says about the classes while it is learnt, as a curve: val/probe_acc."""

import torch
from pydantic import PositiveInt
from pytorch_lightning import Callback, LightningModule, Trainer
from pytorch_lightning.trainer.states import TrainerFn
from torch import Tensor

from aetransfer.callbacks.board import as_taken, uncompiled
from aetransfer.data.module import data_of
from aetransfer.evaluation.features import extracted
from aetransfer.evaluation.knn import vote
from aetransfer.evaluation.numbers import NoNumbersError
from aetransfer.models.capabilities import Classifies
from aetransfer.models.length import falls_due
from aetransfer.networks.encoder import Encoder
from aetransfer.sharded import is_sharded

BATCH = 500


class OnlineProbe(Callback):
    """Classify validation images by their nearest training images in the code (mu of a VAE).

    It draws nothing and fits nothing, so the training is the same to the last bit with it and without.
    NaN where a code is. Where weights are sharded, the data have no labels, or the classes are what is learnt, there is
    no such curve.
    """

    def __init__(self, every_n_epochs: PositiveInt = 1, images: PositiveInt = 2000, neighbours: PositiveInt = 5):
        """images: of each split at most so many, evenly spaced."""
        self.every_n_epochs, self.images, self.neighbours = every_n_epochs, images, neighbours

    def on_validation_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if isinstance(pl_module, Classifies) or trainer.state.fn != TrainerFn.FITTING or is_sharded(trainer):
            return
        if trainer.sanity_checking or not falls_due(trainer, self.every_n_epochs):
            return
        data, device, encoder = data_of(trainer), pl_module.device, pl_module.encoder
        assert isinstance(encoder, Encoder)
        if not data.class_names:
            return

        def code(images: Tensor) -> Tensor:
            return encoder(as_taken(images, pl_module))

        try:
            with uncompiled(pl_module):
                codes, labels = extracted(code, data.in_order("train", BATCH, device, self.images))
                queries, truth = extracted(code, data.in_order("val", BATCH, device, self.images))
        except NoNumbersError:
            accuracy = torch.tensor(torch.nan)
        else:
            predicted = vote(codes, labels, queries, [self.neighbours], len(data.class_names))[self.neighbours]
            accuracy = (predicted == truth).float().mean()
        pl_module.log("val/probe_acc", accuracy)
