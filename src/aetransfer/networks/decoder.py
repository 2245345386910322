"""From codes back to images: a stride-2 convolutional encoder, mirrored."""

from collections.abc import Sequence
from itertools import pairwise
from typing import Literal

from torch import Tensor, nn

from aetransfer.networks.initialisation import he_


def square(shape: Sequence[int]) -> tuple[int, int]:
    """Return channels and size of a square image's shape. Raises ValueError for another shape."""
    match shape:
        case [channels, height, width] if height == width:
            return channels, height
    raise ValueError(f"it takes square images, (channels, S, S), not {tuple(shape)}")


def halved_sizes(size: int, halvings: int, kernel_size: int = 3) -> list[int]:
    """Sizes of a square map before and after each stride-2 convolution of padding 1: [32, 16, 8, 4, 2].

    kernel_size: 3 rounds the half of an odd size up, 4 rounds it down.
    """
    sizes = [size]
    for _ in range(halvings):
        sizes.append((sizes[-1] + 4 - kernel_size) // 2)
    return sizes


class ConvDecoder(nn.Module):
    """Codes (N, latent_dim) to logits (N, *output_shape), of square images.

    It returns logits: what turns them into pixels belongs to the likelihood. Each transposed convolution returns to the
    very size its mirror image started from (28 comes back as 28, not as 32).
    """

    def __init__(
        self,
        *,
        output_shape: Sequence[int],
        latent_dim: int,
        widths: Sequence[int] = (32, 64, 128, 256),
        hidden: Sequence[int] = (),
        kernel_size: Literal[3, 4] = 3,
        batch_norm: bool = False,
        full_size_width: int | None = None,
        init: Literal["he", "torch"] = "he",
    ) -> None:
        """output_shape: (channels, S, S). Raises ValueError for others.

        widths, hidden: the encoder's, from its input on; they are mirrored here.

        full_size_width: that many maps of the image's own size, from which a 3x3 convolution draws the logits. Without
        them the last transposed convolution does, from maps of half the size.

        kernel_size: of 3 and stride 2, an output pixel is reached from 1, 2 or 4 input pixels by turns, which shows as
        a checkerboard (Odena et al. 2016); of 4, each is reached from 4.
        """
        super().__init__()
        out_channels, size = square(output_shape)
        sizes = halved_sizes(size, len(widths), kernel_size)
        self.smallest = (widths[-1], sizes[-1], sizes[-1])
        dims = [latent_dim, *reversed(hidden), widths[-1] * sizes[-1] ** 2]
        self.dense = nn.Sequential()
        for wide, wider in pairwise(dims):
            self.dense.extend([nn.Linear(wide, wider), nn.ReLU()])

        channels = [*reversed(widths), full_size_width or out_channels]
        targets = list(reversed(sizes))
        self.upsample = nn.Sequential()
        for level, (before, after) in enumerate(pairwise(channels)):
            # A stride of 2 gives 2 s - 1 pixels (kernel 4: 2 s); output padding adds the one that may be missing.
            extra = targets[level + 1] - (2 * targets[level] + kernel_size - 4)
            self.upsample.append(nn.ConvTranspose2d(before, after, kernel_size, 2, padding=1, output_padding=extra))
            if level < len(widths) - 1 or full_size_width:
                if batch_norm:
                    self.upsample.append(nn.BatchNorm2d(after))
                self.upsample.append(nn.ReLU())
        if full_size_width:
            self.upsample.append(nn.Conv2d(full_size_width, out_channels, 3, padding=1))
        if init == "he":
            he_(self)

    def forward(self, codes: Tensor) -> Tensor:
        return self.upsample(self.dense(codes).unflatten(1, self.smallest))
