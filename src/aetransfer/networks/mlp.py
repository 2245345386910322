"""Fully connected: of vectors, and of anything else as one long vector."""

from collections.abc import Sequence
from math import prod

from torch import Tensor

from aetransfer.networks.decoder import MLPDecoder, dense, he_
from aetransfer.networks.encoder import Encoder


class MLP(Encoder):
    """ReLU layers, and a linear bottleneck."""

    def __init__(self, *, input_shape: Sequence[int], latent_dim: int = 32, hidden: Sequence[int] = (256, 256)) -> None:
        """hidden: widths of the layers before the bottleneck; without any the encoder is linear."""
        wide = prod(input_shape)
        super().__init__(input_shape=input_shape, latent_dim=latent_dim, num_features=hidden[-1] if hidden else wide)
        self.hidden = tuple(hidden)
        self.dense = dense([wide, *hidden])
        he_(self)

    def body(self, normalised: Tensor) -> Tensor:
        return self.dense(normalised.flatten(1))

    def make_decoder(self) -> MLPDecoder:
        return MLPDecoder(output_shape=self.input_shape, latent_dim=self.latent_dim, hidden=self.hidden)
