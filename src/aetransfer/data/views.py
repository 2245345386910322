"""Random views of images: what a contrastive pretext learns to see past (Chen et al. 2020, SimCLR, appendix A).

What is drawn is drawn on the CPU, a few numbers an example, and applied on the batch's device. Crop and flip are one
resampling; brightness, saturation, hue and grey are one matrix of colours.
"""

import math
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from aetransfer.data.draws import Draws
from aetransfer.data.examples import LUMA

# RGB to luma and two colour differences (NTSC's YIQ), whose plane a change of hue rotates.
YIQ = torch.tensor([LUMA, (0.596, -0.274, -0.322), (0.211, -0.523, 0.312)])
NUMBERS = 11


@dataclass(frozen=True)
class Views:
    """A crop of `smallest_crop` to all of the area, scaled to the image's size; a flip; colours changed; all grey.

    colour: how far brightness, contrast and saturation go from 1, to both sides; a quarter of it, in turns of the
    colour circle, is the hue's. One view of five keeps its colours.
    grey: the share of views that lose them.
    """

    smallest_crop: float = 0.2
    flip: bool = True
    colour: float = 0.4
    grey: float = 0.2

    def __call__(self, images: Tensor, draws: Draws) -> Tensor:
        """Return a view of each image, (B, C, H, W) in [0, 1]; the next call draws others."""
        whole = torch.rand((draws.share.whole, NUMBERS), generator=draws.on_cpu)
        drawn = draws.share.part(whole)
        cropped = self._cropped(images, drawn[:, :5])
        return self._coloured(cropped, drawn[:, 5:]).clamp(0, 1)

    def _cropped(self, images: Tensor, drawn: Tensor) -> Tensor:
        area = self.smallest_crop + (1 - self.smallest_crop) * drawn[:, 0]
        # Width over height from 3/4 to 4/3, evenly in its logarithm; all of an image has its own.
        widest = math.log(4 / 3) if self.smallest_crop < 1 else 0.0
        ratio = torch.exp((2 * drawn[:, 1] - 1) * widest)
        width, height = (area * ratio).sqrt().clamp_max(1), (area / ratio).sqrt().clamp_max(1)
        # Of [-1, 1], the whole image.
        x, y = (2 * drawn[:, 2] - 1) * (1 - width), (2 * drawn[:, 3] - 1) * (1 - height)
        if self.flip:
            width = torch.where(drawn[:, 4] < 0.5, -width, width)
        zero = torch.zeros_like(x)
        windows = torch.stack([torch.stack([width, zero, x], 1), torch.stack([zero, height, y], 1)], 1)
        grid = F.affine_grid(windows.to(images), list(images.shape), align_corners=False)
        return F.grid_sample(images, grid, mode="bilinear", padding_mode="border", align_corners=False)

    def _coloured(self, images: Tensor, drawn: Tensor) -> Tensor:
        changes = drawn[:, 5] < 0.8
        brightness, contrast, saturation = (
            torch.where(changes, 1 + self.colour * (2 * drawn[:, place] - 1), 1.0).to(images) for place in range(3)
        )
        if images.shape[1] == 3:
            turn = torch.where(changes, self.colour / 4 * (2 * drawn[:, 3] - 1) * 2 * math.pi, 0.0).to(images)
            saturation = torch.where((drawn[:, 4] < self.grey).to(images.device), 0.0, saturation)
            images = torch.einsum("bij,bjhw->bihw", _colours(saturation, turn), images)
        mean = images.mean((1, 2, 3), keepdim=True)
        images = mean + contrast.view(-1, 1, 1, 1) * (images - mean)
        return images * brightness.view(-1, 1, 1, 1)


def _colours(saturation: Tensor, turn: Tensor) -> Tensor:
    """Return matrices (B, 3, 3) that keep luma, scale what is colour and turn it by so many radians."""
    cosine, sine = saturation * turn.cos(), saturation * turn.sin()
    one, zero = torch.ones_like(turn), torch.zeros_like(turn)
    rows = [one, zero, zero, zero, cosine, -sine, zero, sine, cosine]
    yiq = YIQ.to(turn)
    return torch.linalg.inv(yiq) @ torch.stack(rows, 1).view(-1, 3, 3) @ yiq
