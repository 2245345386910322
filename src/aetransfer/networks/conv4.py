"""The article's encoder: 3x3 convolutions of stride 2, flattened, linear to the bottleneck; over one axis for signals.

Its text names two fully connected layers, its code has one; `hidden` adds them. `kernel_size=4` is for its decoder's
sake, see there.
"""

from collections.abc import Sequence
from itertools import pairwise
from math import prod
from typing import Literal

from torch import Tensor, nn

from aetransfer.networks.decoder import ConvDecoder, dense, halved_sizes, he_, layers_for
from aetransfer.networks.encoder import Encoder


class Conv4(Encoder):
    """As many stride-2 convolutions as there are widths; 32-64-128-256 on 32x32 leave 256 x 2 x 2 = 1024 features."""

    def __init__(
        self,
        *,
        input_shape: Sequence[int],
        latent_dim: int = 128,
        widths: Sequence[int] = (32, 64, 128, 256),
        hidden: Sequence[int] = (),
        kernel_size: int = 3,
        batch_norm: bool = False,
        full_size_width: int | None = None,
        init: Literal["he", "torch"] = "he",
    ) -> None:
        """input_shape: of images, (channels, height, width), or of signals, (channels, length). Raises ValueError for
        others.

        hidden: widths of fully connected ReLU layers between the flattened maps and the bottleneck.

        full_size_width: of the decoder alone, see there.
        """
        layers = layers_for(input_shape)
        channels, *size = input_shape
        flat = widths[-1] * prod(halved_sizes(size, len(widths), kernel_size)[-1])
        super().__init__(input_shape=input_shape, latent_dim=latent_dim, num_features=hidden[-1] if hidden else flat)
        self.widths, self.hidden, self.kernel_size = tuple(widths), tuple(hidden), kernel_size
        self.batch_norm, self.full_size_width, self.init = batch_norm, full_size_width, init
        self.convolutions = nn.Sequential()
        for before, after in pairwise([channels, *widths]):
            padding = (kernel_size - 1) // 2
            self.convolutions.append(layers.convolution(before, after, kernel_size, stride=2, padding=padding))
            if batch_norm:
                self.convolutions.append(layers.batch_norm(after))
            self.convolutions.append(nn.ReLU())
        self.dense = dense([flat, *hidden])
        if init == "he":
            he_(self)

    def body(self, normalised: Tensor) -> Tensor:
        return self.dense(self.convolutions(normalised).flatten(1))

    def make_decoder(self) -> ConvDecoder:
        return ConvDecoder(
            output_shape=self.input_shape,
            latent_dim=self.latent_dim,
            widths=self.widths,
            hidden=self.hidden,
            kernel_size=self.kernel_size,
            batch_norm=self.batch_norm,
            full_size_width=self.full_size_width,
            init=self.init,
        )
