"""The autoencoder: mean squared error of pixels in [0, 1]."""

from collections.abc import Mapping
from typing import ClassVar

from torch import Tensor

from aetransfer.data.batches import Batch
from aetransfer.models.base import Outputs, Pretext
from aetransfer.models.facts import Quantity
from aetransfer.networks.encoder import Encoder


class AutoEncoder(Pretext):
    """Encoder and mirrored decoder, ended by a sigmoid."""

    title = "autoencoder"
    metrics: ClassVar[Mapping[str, Quantity]] = {"mse": Quantity("mean squared error a pixel, of images in [0, 1]")}

    def __init__(self, encoder: Encoder) -> None:
        super().__init__(encoder)
        self.decoder = encoder.make_decoder()

    @property
    def summary(self) -> str:
        return "An encoder and a decoder that learnt to reconstruct images"

    def reconstruct(self, inputs: Tensor) -> Tensor:
        """Map (N, C, S, S) in [0, 1] to its reconstruction, of the same shape and range."""
        return self.decode(self.encoder(inputs))

    def decode(self, codes: Tensor) -> Tensor:
        """Map codes (N, latent_dim) to images (N, C, S, S) in [0, 1]."""
        return self.decoder(codes).sigmoid()

    def encoded(self, batch: Batch) -> Tensor:
        """Return what the encoder sees of a batch, whose own inputs are to come back: (N, C, S, S)."""
        return batch.inputs

    def step(self, batch: Batch) -> Outputs:
        difference = batch.content(self.reconstruct(self.encoded(batch))) - batch.content(batch.inputs)
        error = difference.square().mean((1, 2, 3))
        return {"loss": error, "mse": error}

    def caveats(self) -> list[str]:
        return ["How well images are reconstructed does not say how well the codes tell classes apart."]
