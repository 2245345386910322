"""From codes back to inputs: an encoder of stride-2 convolutions, or of fully connected layers, mirrored.

The layers that encoders, decoders and heads are made of, and their first weights, are here too.
"""

from collections.abc import Callable, Sequence
from itertools import pairwise
from math import prod
from typing import Literal, NamedTuple

from torch import Tensor, nn


def he_(network: nn.Module) -> None:
    """Draw every weight from N(0, 2 / fan_in), zero every bias, in place (He et al. 2015, eq. 10).

    An output pixel of a transposed convolution sums in_channels * k^2 / stride^2 products, so that is its fan-in;
    torch's own `kaiming_normal_` takes out_channels * k^2 there. Of a signal, k and stride count once.
    """
    for layer in network.modules():
        if isinstance(layer, nn.ConvTranspose1d | nn.ConvTranspose2d):
            fan_in = layer.in_channels * prod(layer.kernel_size) / prod(layer.stride)
            nn.init.normal_(layer.weight, std=(2 / fan_in) ** 0.5)
        elif isinstance(layer, nn.Conv1d | nn.Conv2d | nn.Linear):
            nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
        else:
            continue
        if layer.bias is not None:
            nn.init.zeros_(layer.bias)


def dense(widths: Sequence[int]) -> nn.Sequential:
    """Return fully connected ReLU layers from (N, widths[0]) to (N, widths[-1]); nothing for a single width."""
    layers = nn.Sequential()
    for before, after in pairwise(widths):
        layers.extend([nn.Linear(before, after), nn.ReLU()])
    return layers


class Layers(NamedTuple):
    """What makes the layers of convolutional networks over one axis, or over two."""

    convolution: Callable[..., nn.Module]
    transposed: Callable[..., nn.Module]
    batch_norm: Callable[..., nn.Module]


def layers_for(shape: Sequence[int]) -> Layers:
    """Return the layers for images or signals. Raises ValueError for another shape."""
    if len(shape) == 3:
        return Layers(nn.Conv2d, nn.ConvTranspose2d, nn.BatchNorm2d)
    if len(shape) == 2:
        return Layers(nn.Conv1d, nn.ConvTranspose1d, nn.BatchNorm1d)
    raise ValueError(
        "it takes images, (channels, height, width), and signals, (channels, length), not "
        f"{tuple(shape)}: encoder=mlp takes any shape"
    )


def halved(size: int, kernel_size: int) -> int:
    """Return what a stride-2 convolution of padding (kernel_size - 1) // 2 leaves of an axis.

    An odd kernel rounds the half of an odd size up, an even one rounds it down.
    """
    return (size + kernel_size % 2) // 2


def halved_sizes(size: Sequence[int], halvings: int, kernel_size: int = 3) -> list[tuple[int, ...]]:
    """Sizes of a map before and after each convolution: [(32, 32), (16, 16), (8, 8), (4, 4), (2, 2)]."""
    sizes = [tuple(size)]
    for _ in range(halvings):
        sizes.append(tuple(halved(axis, kernel_size) for axis in sizes[-1]))
    return sizes


class ConvDecoder(nn.Module):
    """Codes (N, latent_dim) to logits (N, *output_shape), of images or signals.

    It returns logits: what turns them into inputs belongs to the likelihood, or is `Encoder.from_logits`. Each
    transposed convolution returns to the very size its mirror image started from, along each axis (28 comes back as 28,
    not as 32).
    """

    def __init__(
        self,
        *,
        output_shape: Sequence[int],
        latent_dim: int,
        widths: Sequence[int] = (32, 64, 128, 256),
        hidden: Sequence[int] = (),
        kernel_size: int = 3,
        batch_norm: bool = False,
        full_size_width: int | None = None,
        init: Literal["he", "torch"] = "he",
    ) -> None:
        """output_shape: (channels, height, width) or (channels, length). Raises ValueError for others.

        widths, hidden: the encoder's, from its input on; they are mirrored here.

        full_size_width: that many maps of the input's own size, from which a convolution of 3 draws the logits. Without
        them the last transposed convolution does, from maps of half the size.

        kernel_size: of 3 and stride 2, an output pixel is reached from 1, 2 or 4 input pixels by turns, which shows as
        a checkerboard (Odena et al. 2016); of 4, each is reached from 4. So it is with any odd and any even number.
        """
        super().__init__()
        layers = layers_for(output_shape)
        out_channels, *size = output_shape
        sizes = halved_sizes(size, len(widths), kernel_size)
        self.smallest = (widths[-1], *sizes[-1])
        self.dense = dense([latent_dim, *reversed(hidden), prod(self.smallest)])
        channels = [*reversed(widths), full_size_width or out_channels]
        padding = (kernel_size - 1) // 2
        self.upsample = nn.Sequential()
        for level, ((before, after), (small, large)) in enumerate(
            zip(pairwise(channels), pairwise(reversed(sizes)), strict=True)
        ):
            # A stride of 2 gives 2 s - 1 pixels (an even kernel: 2 s); output padding adds the one that may be missing.
            extra = tuple(wanted - (2 * given - kernel_size % 2) for given, wanted in zip(small, large, strict=True))
            self.upsample.append(layers.transposed(before, after, kernel_size, 2, padding, output_padding=extra))
            if level < len(widths) - 1 or full_size_width:
                if batch_norm:
                    self.upsample.append(layers.batch_norm(after))
                self.upsample.append(nn.ReLU())
        if full_size_width:
            self.upsample.append(layers.convolution(full_size_width, out_channels, 3, padding=1))
        if init == "he":
            he_(self)

    def forward(self, codes: Tensor) -> Tensor:
        return self.upsample(self.dense(codes).unflatten(1, self.smallest))


class MLPDecoder(nn.Module):
    """Codes (N, latent_dim) to logits (N, *output_shape) of any shape: ReLU layers, and a linear one."""

    def __init__(self, *, output_shape: Sequence[int], latent_dim: int, hidden: Sequence[int] = (256, 256)) -> None:
        """hidden: the encoder's widths, from its input on; they are mirrored here."""
        super().__init__()
        self.output_shape = tuple(output_shape)
        dims = [latent_dim, *reversed(hidden)]
        self.layers = dense(dims)
        self.layers.append(nn.Linear(dims[-1], prod(output_shape)))
        he_(self)

    def forward(self, codes: Tensor) -> Tensor:
        return self.layers(codes).unflatten(1, self.output_shape)
