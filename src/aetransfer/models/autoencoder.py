"""The autoencoder: mean squared error of pixels in [0, 1]."""

from typing import Any, ClassVar

from pytorch_lightning import LightningModule
from torch import Tensor

from aetransfer.config.schema import Optimizer
from aetransfer.data.batches import Batch
from aetransfer.models.content import content
from aetransfer.models.curve import log_step
from aetransfer.models.metrics import Mean
from aetransfer.models.optimisers import configure
from aetransfer.networks.encoder import Encoder


class AutoEncoder(LightningModule):
    """Encoder and mirrored decoder, ended by a sigmoid."""

    monitor: ClassVar[str] = "val/mse"
    monitor_mode: ClassVar[str] = "min"

    def __init__(self, encoder: Encoder, *, margin: int, optimizer: Optimizer) -> None:
        """margin: pixels of padding around the image, which neither loss nor metrics count."""
        super().__init__()
        self.encoder = encoder
        self.decoder = encoder.make_decoder()
        self.margin, self.optimizer_config = margin, optimizer
        self.val_mse, self.test_mse = Mean(), Mean()

    def reconstruct(self, images: Tensor) -> Tensor:
        """Map (N, C, S, S) in [0, 1] to its reconstruction, of the same shape and range."""
        return self.decode(self.encoder(images))

    def decode(self, codes: Tensor) -> Tensor:
        """Map codes (N, latent_dim) to images (N, C, S, S) in [0, 1]."""
        return self.decoder(codes).sigmoid()

    def squared_error(self, images: Tensor) -> Tensor:
        """Return each image's mean squared error, (N,), in squared units of pixel values in [0, 1]."""
        difference = content(self.reconstruct(images), self.margin) - content(images, self.margin)
        return difference.square().mean((1, 2, 3))

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        loss = batch.share.mean(self.squared_error(batch.images))
        log_step(self, lambda: {"train/mse": loss})
        return batch.share.weighted(loss)

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        self.val_mse.update(self.squared_error(batch.images)[: batch.share.counted])
        self.log("val/mse", self.val_mse)

    def test_step(self, batch: Batch, batch_idx: int) -> None:
        self.test_mse.update(self.squared_error(batch.images)[: batch.share.counted])
        self.log("test/mse", self.test_mse)

    def configure_optimizers(self) -> Any:
        total_steps = int(self.trainer.estimated_stepping_batches)
        encoder_lr = self.optimizer_config.encoder_lr or self.optimizer_config.lr
        groups = {
            "encoder": (self.encoder.parameters(), encoder_lr),
            "decoder": (self.decoder.parameters(), self.optimizer_config.lr),
        }
        return configure(self.optimizer_config, groups, total_steps)
