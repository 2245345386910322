"""The autoencoder: mean squared error of pixels in [0, 1], or of standardised inputs where they are none."""

from collections.abc import Mapping

from torch import Tensor

from aetransfer.data.batches import Batch
from aetransfer.models.base import Outputs, Pretext
from aetransfer.models.capabilities import caveat, learnt, unit
from aetransfer.models.facts import Quantity
from aetransfer.networks.encoder import Encoder


class AutoEncoder(Pretext):
    """Encoder and mirrored decoder, which ends in a sigmoid for pixels."""

    title = "autoencoder"
    of = "a"

    def __init__(self, encoder: Encoder) -> None:
        super().__init__(encoder)
        self.decoder = encoder.make_decoder()

    @property
    def metrics(self) -> Mapping[str, Quantity]:  # type: ignore[override]
        value = "pixel" if self.encoder.takes_pixels else "value"
        return {"mse": Quantity(f"mean squared error {self.of} {value}, {unit(self.encoder)}")}

    @property
    def summary(self) -> str:
        return learnt(self.encoder)

    def reconstruct(self, inputs: Tensor) -> Tensor:
        return self.decode(self.encoder(inputs))

    def decode(self, codes: Tensor) -> Tensor:
        return self.encoder.from_logits(self.decoder(codes))

    def encoded(self, batch: Batch) -> Tensor:
        """Return what the encoder sees of a batch, whose own inputs are to come back: (N, *shape)."""
        return batch.inputs

    def step(self, batch: Batch) -> Outputs:
        difference = batch.content(self.reconstruct(self.encoded(batch))) - batch.content(batch.inputs)
        error = self.encoder.in_loss_units(difference).square().mean(tuple(range(1, difference.ndim)))
        return {"loss": error, "mse": error}

    def caveats(self) -> list[str]:
        return [caveat(self.encoder)]
