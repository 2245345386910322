"""Random changes of images: drawn per example on the CPU, applied to a batch on its device.

A transform says how many uniform numbers it needs for an example, and is handed them. So it draws nothing itself, and
what it does is the same on any device, on any number of processes and after a resume.
"""

import math
from abc import ABC, abstractmethod
from typing import ClassVar

import torch
from torch import Tensor
from torch.nn import functional as F

from aetransfer.config.nodes import Margin, NonNegativeFloat, PositiveFloat
from aetransfer.data.examples import LUMA

# RGB to luma and two colour differences (NTSC's YIQ), whose plane a change of hue rotates.
YIQ = torch.tensor([LUMA, (0.596, -0.274, -0.322), (0.211, -0.523, 0.312)])


class Augmentation(ABC):
    """A random change of a batch of inputs. numbers: how many it needs for each example.

    takes: of which inputs it is, anything else is refused: pixels (images in [0, 1]), images (of floats of any range),
    signals, vectors; None for all.
    """

    numbers: ClassVar[int]
    takes: ClassVar[tuple[str, ...] | None] = None

    @abstractmethod
    def __call__(self, inputs: Tensor, drawn: Tensor) -> Tensor:
        """Return the changed inputs, of the same shape.

        inputs: (B, *shape), of images float32 in [0, 1], (B, C, H, W). drawn: (B, numbers) float32 on the CPU, uniform
        in [0, 1).
        """


class Crop(Augmentation):
    """A window of the image's size, anywhere in the image with `padding` black pixels on each side."""

    numbers = 2
    takes: ClassVar = ("pixels", "images")

    def __init__(self, padding: Margin = 4) -> None:
        self.padding = padding

    def __call__(self, inputs: Tensor, drawn: Tensor) -> Tensor:
        height, width = inputs.shape[2:]
        offsets = (drawn * (2 * self.padding + 1)).long().to(inputs.device)
        rows = offsets[:, :1] + torch.arange(height, device=inputs.device)
        columns = offsets[:, 1:] + torch.arange(width, device=inputs.device)
        padded = F.pad(inputs, (self.padding,) * 4)
        every = torch.arange(len(inputs), device=inputs.device).view(-1, 1, 1)
        return padded[every, :, rows.unsqueeze(2), columns.unsqueeze(1)].permute(0, 3, 1, 2)


class Flip(Augmentation):
    """Left and right change places in a `share` of the images."""

    numbers = 1
    takes: ClassVar = ("pixels", "images")

    def __init__(self, share: NonNegativeFloat = 0.5) -> None:
        self.share = share

    def __call__(self, inputs: Tensor, drawn: Tensor) -> Tensor:
        return torch.where(_chosen(drawn[:, 0], self.share, inputs), inputs.flip(3), inputs)


class ResizedCrop(Augmentation):
    """A part of the image, scaled to the image's size.

    smallest: its area, of the image's. Its width over height is from 3/4 to 4/3, evenly in the logarithm.
    """

    numbers = 4
    takes: ClassVar = ("pixels", "images")

    def __init__(self, smallest: PositiveFloat = 0.2) -> None:
        if smallest > 1:
            raise ValueError(f"smallest={smallest:g} is a share of the image's area, up to 1: lower it")
        self.smallest = smallest

    def __call__(self, inputs: Tensor, drawn: Tensor) -> Tensor:
        area = self.smallest + (1 - self.smallest) * drawn[:, 0]
        # All of an image has the image's own ratio.
        widest = math.log(4 / 3) if self.smallest < 1 else 0.0
        ratio = torch.exp((2 * drawn[:, 1] - 1) * widest)
        width, height = (area * ratio).sqrt().clamp_max(1), (area / ratio).sqrt().clamp_max(1)
        # Of [-1, 1], the whole image.
        x, y = (2 * drawn[:, 2] - 1) * (1 - width), (2 * drawn[:, 3] - 1) * (1 - height)
        zero = torch.zeros_like(x)
        windows = torch.stack([torch.stack([width, zero, x], 1), torch.stack([zero, height, y], 1)], 1)
        grid = F.affine_grid(windows.to(inputs), list(inputs.shape), align_corners=False)
        return F.grid_sample(inputs, grid, mode="bilinear", padding_mode="border", align_corners=False)


class Colour(Augmentation):
    """Brightness, contrast, saturation and hue of a `share` of the images (Chen et al. 2020, SimCLR, appendix A).

    strength: how far brightness, contrast and saturation go from 1, to both sides; a quarter of it, in turns of the
    colour circle, is the hue's. Images of another number of channels than 3 have brightness and contrast alone.
    """

    numbers = 5
    takes: ClassVar = ("pixels",)

    def __init__(self, strength: NonNegativeFloat = 0.4, share: NonNegativeFloat = 0.8) -> None:
        self.strength, self.share = strength, share

    def __call__(self, inputs: Tensor, drawn: Tensor) -> Tensor:
        changes = drawn[:, 4] < self.share
        brightness, contrast, saturation = (
            torch.where(changes, 1 + self.strength * (2 * drawn[:, place] - 1), 1.0).to(inputs) for place in range(3)
        )
        if inputs.shape[1] == 3:
            turn = torch.where(changes, self.strength / 4 * (2 * drawn[:, 3] - 1) * 2 * math.pi, 0.0).to(inputs)
            inputs = torch.einsum("bij,bjhw->bihw", _colours(saturation, turn), inputs)
        mean = inputs.mean((1, 2, 3), keepdim=True)
        inputs = mean + contrast.view(-1, 1, 1, 1) * (inputs - mean)
        return (inputs * brightness.view(-1, 1, 1, 1)).clamp(0, 1)


class Grey(Augmentation):
    """A `share` of the colour images lose their colours."""

    numbers = 1
    takes: ClassVar = ("pixels",)

    def __init__(self, share: NonNegativeFloat = 0.2) -> None:
        self.share = share

    def __call__(self, inputs: Tensor, drawn: Tensor) -> Tensor:
        if inputs.shape[1] != 3:
            return inputs
        luma = torch.einsum("c,bchw->bhw", YIQ[0].to(inputs), inputs).unsqueeze(1)
        return torch.where(_chosen(drawn[:, 0], self.share, inputs), luma, inputs)


class Blur(Augmentation):
    """A Gaussian blur of a `share` of the images, of a deviation from `smallest` to `largest` pixels."""

    numbers = 2
    takes: ClassVar = ("pixels", "images")

    def __init__(
        self, share: NonNegativeFloat = 0.5, smallest: PositiveFloat = 0.1, largest: PositiveFloat = 1.0
    ) -> None:
        if smallest > largest:
            raise ValueError(f"smallest={smallest:g} is above largest={largest:g}: lower it")
        self.share, self.smallest, self.largest = share, smallest, largest

    def __call__(self, inputs: Tensor, drawn: Tensor) -> Tensor:
        batch, channels, height, width = inputs.shape
        deviation = self.smallest + (self.largest - self.smallest) * drawn[:, 1]
        # Beyond three deviations a weight is below a hundredth of the middle's. Reflection needs as many pixels.
        reach = min(math.ceil(3 * self.largest), height - 1, width - 1)
        distance = torch.arange(-reach, reach + 1)
        weights = torch.exp(-0.5 * (distance / deviation.unsqueeze(1)).square())
        weights = (weights / weights.sum(1, keepdim=True)).to(inputs).repeat_interleave(channels, 0)
        rows = F.pad(inputs, (reach,) * 4, mode="reflect").reshape(1, batch * channels, height + 2 * reach, -1)
        blurred = F.conv2d(rows, weights.view(-1, 1, 1, 2 * reach + 1), groups=batch * channels)
        blurred = F.conv2d(blurred, weights.view(-1, 1, 2 * reach + 1, 1), groups=batch * channels)
        return torch.where(_chosen(drawn[:, 0], self.share, inputs), blurred.view_as(inputs), inputs)


class Erasing(Augmentation):
    """A rectangle of a `share` of the images becomes the image's mean colour (Zhong et al. 2020).

    Its area is from `smallest` to `largest` of the image's, its width over height from .3 to 3.3.
    """

    numbers = 5
    takes: ClassVar = ("pixels", "images")

    def __init__(
        self, share: NonNegativeFloat = 0.5, smallest: PositiveFloat = 0.02, largest: PositiveFloat = 0.33
    ) -> None:
        if not smallest <= largest <= 1:
            raise ValueError(
                f"smallest={smallest:g} and largest={largest:g} are shares of the area, the first not above"
            )
        self.share, self.smallest, self.largest = share, smallest, largest

    def __call__(self, inputs: Tensor, drawn: Tensor) -> Tensor:
        height, width = inputs.shape[2:]
        area = self.smallest + (self.largest - self.smallest) * drawn[:, 1]
        ratio = torch.exp((2 * drawn[:, 2] - 1) * math.log(1 / 0.3))
        high, wide = (area / ratio).sqrt().clamp_max(1) * height, (area * ratio).sqrt().clamp_max(1) * width
        top, left = drawn[:, 3] * (height - high), drawn[:, 4] * (width - wide)
        # Pixels whose middle is within.
        y, x = torch.arange(height) + 0.5, torch.arange(width) + 0.5
        rows = (y >= top.unsqueeze(1)) & (y < (top + high).unsqueeze(1))
        columns = (x >= left.unsqueeze(1)) & (x < (left + wide).unsqueeze(1))
        erased = (rows.unsqueeze(2) & columns.unsqueeze(1)).unsqueeze(1).to(inputs.device)
        chosen = _chosen(drawn[:, 0], self.share, inputs)
        return torch.where(erased & chosen, inputs.mean((2, 3), keepdim=True), inputs)


def _chosen(drawn: Tensor, share: float, inputs: Tensor) -> Tensor:
    """Return which examples change, (B, 1, 1, 1) bool on the device of the inputs."""
    return (drawn < share).view(-1, 1, 1, 1).to(inputs.device)


def _colours(saturation: Tensor, turn: Tensor) -> Tensor:
    """Return matrices (B, 3, 3) that keep luma, scale what is colour and turn it by so many radians."""
    cosine, sine = saturation * turn.cos(), saturation * turn.sin()
    one, zero = torch.ones_like(turn), torch.zeros_like(turn)
    rows = [one, zero, zero, zero, cosine, -sine, zero, sine, cosine]
    yiq = YIQ.to(turn)
    return torch.linalg.inv(yiq) @ torch.stack(rows, 1).view(-1, 3, 3) @ yiq
