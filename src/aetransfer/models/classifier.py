"""The transfer classifier: a carried (or fresh) encoder, and a head that reads its code.

An encoder that is unfrozen gradually is not frozen by `requires_grad`: which parameters a process group reduces, and
what a compiler traced, is settled when training begins. The gradients of its frozen layers are dropped instead.
"""

from collections.abc import Iterable
from typing import Any, ClassVar

import torch
from pytorch_lightning import LightningModule
from torch import Tensor, nn
from torch.nn import functional as F

from aetransfer.config.schema import Optimizer, Transfer
from aetransfer.data.batches import Batch
from aetransfer.models.curve import log_step
from aetransfer.models.length import epochs_of
from aetransfer.models.metrics import ClassifierMetrics
from aetransfer.models.optimisers import configure
from aetransfer.networks.encoder import Encoder


class Classifier(LightningModule):
    """Cross-entropy. What is frozen learns nothing, stays in eval mode and so keeps every buffer as it was."""

    monitor: ClassVar[str] = "val/acc"
    monitor_mode: ClassVar[str] = "max"

    def __init__(
        self, encoder: Encoder, head: nn.Module, *, classes: int, transfer: Transfer, optimizer: Optimizer
    ) -> None:
        super().__init__()
        self.encoder, self.head = encoder, head
        self.freeze_encoder, self.transfer, self.optimizer_config = transfer.freezes, transfer, optimizer
        # Other modules within them are of other layers, which may be trained.
        self.frozen_layers: list[nn.Module] = []
        if self.freeze_encoder:
            encoder.requires_grad_(False)
        if transfer.encoder == "transplant_frozen":
            kept = encoder.modules_of_layers()[: transfer.transplanted]
            self.frozen_layers = [module for layer in kept for module in layer]
            for module in self.frozen_layers:
                for parameter in module.parameters(recurse=False):
                    parameter.requires_grad_(False)
        self.train()
        self.val_metrics, self.test_metrics = ClassifierMetrics(classes), ClassifierMetrics(classes)

    def train(self, mode: bool = True) -> "Classifier":
        super().train(mode)
        if self.freeze_encoder:
            self.encoder.eval()
        for module in self.frozen_layers:
            module.training = False
        return self

    def on_train_start(self) -> None:
        # A resume within an epoch starts no epoch.
        self._freeze_for_epoch()

    def on_train_epoch_start(self) -> None:
        self._freeze_for_epoch()

    def _freeze_for_epoch(self) -> None:
        """Freeze what a gradual arm has not reached in this epoch: a function of the epoch, so a resume finds it."""
        if self.transfer.encoder == "gradual":
            layers, epochs = self.encoder.modules_of_layers(), epochs_of(self.trainer)
            reached = layers_reached(self.trainer.current_epoch, epochs, len(layers), self.transfer.unfrozen_by)
            self.frozen_layers = [module for layer in layers[: len(layers) - reached] for module in layer]
            self.train()

    def on_before_optimizer_step(self, optimizer: torch.optim.Optimizer) -> None:
        for module in self.frozen_layers:
            for parameter in module.parameters(recurse=False):
                parameter.grad = None

    def forward(self, images: Tensor) -> Tensor:
        """Map (N, C, S, S) in [0, 1] to logits (N, classes)."""
        with torch.set_grad_enabled(torch.is_grad_enabled() and not self.freeze_encoder):
            codes = self.encoder(images)
        return self.head(codes)

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        logits, labels = self(batch.images), batch.labels
        loss = batch.share.mean(F.cross_entropy(logits, labels, reduction="none"))
        log_step(self, lambda: {"train/nll": loss, "train/acc": batch.share.mean((logits.argmax(1) == labels).float())})
        return batch.share.weighted(loss)

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        counted = batch.share.counted
        self.val_metrics.update(self(batch.images)[:counted], batch.labels[:counted])
        self.log_dict(self.val_metrics.named("val"))

    def test_step(self, batch: Batch, batch_idx: int) -> None:
        counted = batch.share.counted
        self.test_metrics.update(self(batch.images)[:counted], batch.labels[:counted])
        self.log_dict(self.test_metrics.named("test"))

    def configure_optimizers(self) -> Any:
        groups = {**self._encoder_groups(), "head": (self.head.parameters(), self.optimizer_config.lr)}
        return configure(self.optimizer_config, groups, int(self.trainer.estimated_stepping_batches))

    def _encoder_groups(self) -> dict[str, tuple[Iterable[nn.Parameter], float]]:
        """Give each layer the learning rate of the one above it times the decay (Clark et al. 2020, ELECTRA)."""
        rate, decay = self.optimizer_config.encoder_lr or self.optimizer_config.lr, self.transfer.layer_decay
        if decay == 1:
            return {"encoder": (self.encoder.parameters(), rate)}
        layers = self.encoder.modules_of_layers()
        return {
            f"encoder_{place}": (
                [parameter for module in layer for parameter in module.parameters(recurse=False)],
                rate * decay ** (len(layers) - place),
            )
            for place, layer in enumerate(layers)
        }


def layers_reached(epoch: int, epochs: float, layers: int, unfrozen_by: float) -> int:
    """Count the layers, from the bottleneck down, that train in an epoch (from 0) of a gradual arm.

    They join evenly spaced; all of them train from epoch `unfrozen_by * epochs` on.
    """
    return sum(epoch >= unfrozen_by * epochs * place / layers for place in range(1, layers + 1))
