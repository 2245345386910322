"""The transfer classifier: a carried (or fresh) encoder, and a head that reads its code."""

from typing import Any, ClassVar

import torch
from pytorch_lightning import LightningModule
from torch import Tensor, nn
from torch.nn import functional as F

from aetransfer.config.schema import Optimizer
from aetransfer.data.batches import Batch
from aetransfer.models.metrics import ClassifierMetrics
from aetransfer.models.optimisers import configure
from aetransfer.networks.encoder import Encoder


class Classifier(LightningModule):
    """Cross-entropy. A frozen encoder gets no gradient, stays in eval mode and so keeps every buffer as it was."""

    monitor: ClassVar[str] = "val/acc"
    monitor_mode: ClassVar[str] = "max"

    def __init__(
        self, encoder: Encoder, head: nn.Module, *, classes: int, freeze_encoder: bool, optimizer: Optimizer
    ) -> None:
        super().__init__()
        self.encoder, self.head = encoder, head
        self.freeze_encoder, self.optimizer_config = freeze_encoder, optimizer
        if freeze_encoder:
            encoder.requires_grad_(False).eval()
        self.val_metrics, self.test_metrics = ClassifierMetrics(classes), ClassifierMetrics(classes)

    def train(self, mode: bool = True) -> "Classifier":
        super().train(mode)
        if self.freeze_encoder:
            self.encoder.eval()
        return self

    def forward(self, images: Tensor) -> Tensor:
        """Map (N, C, S, S) in [0, 1] to logits (N, classes)."""
        with torch.set_grad_enabled(torch.is_grad_enabled() and not self.freeze_encoder):
            codes = self.encoder(images)
        return self.head(codes)

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        images, labels = batch
        loss = F.cross_entropy(self(images), labels)
        self.log("train/nll", loss)
        return loss

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        images, labels = batch
        self.val_metrics.update(self(images), labels)
        self.log_dict(self.val_metrics.named("val"))

    def test_step(self, batch: Batch, batch_idx: int) -> None:
        images, labels = batch
        self.test_metrics.update(self(images), labels)
        self.log_dict(self.test_metrics.named("test"))

    def configure_optimizers(self) -> Any:
        encoder_lr = self.optimizer_config.encoder_lr or self.optimizer_config.lr
        groups = {
            "encoder": (self.encoder.parameters(), encoder_lr),
            "head": (self.head.parameters(), self.optimizer_config.lr),
        }
        return configure(self.optimizer_config, groups, int(self.trainer.estimated_stepping_batches))
