"""The one form in which every reader hands over a data set."""

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

Split = Literal["train", "test"]

# ITU-R BT.601 luma, the weights of Pillow's and torchvision's grey conversion.
LUMA = (0.299, 0.587, 0.114)


@dataclass(frozen=True)
class Images:
    """A labelled split, undecorated: no normalisation, no padding, no augmentation.

    images: (N, C, H, W) uint8 with C of 1 or 3; may be a memory map. labels: (N,) int64 in [0, len(class_names)).
    """

    images: Tensor
    labels: Tensor
    class_names: tuple[str, ...]

    def __post_init__(self) -> None:
        assert self.images.dtype == torch.uint8 and self.images.ndim == 4, (self.images.dtype, self.images.shape)
        assert self.images.shape[1] in (1, 3), self.images.shape
        assert self.labels.dtype == torch.int64 and self.labels.shape == self.images.shape[:1], self.labels.shape

    def __len__(self) -> int:
        return len(self.labels)


def to_channels(images: Tensor, channels: int) -> Tensor:
    """Convert (N, 1 or 3, H, W) uint8 images to `channels`: grey is repeated, colour becomes luma."""
    present = images.shape[1]
    if present == channels:
        return images
    if present == 1:
        return images.expand(-1, channels, -1, -1)
    weights = torch.tensor(LUMA, device=images.device).view(1, 3, 1, 1)
    return (images * weights).sum(1, keepdim=True).round_().to(torch.uint8)
