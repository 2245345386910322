"""From an encoder's layers to feature vectors that a probe can take: flattened, pooled where they are too many."""

import math
from collections.abc import Callable, Iterable

import torch
from torch import Tensor
from torch.nn import functional as F

from aetransfer.data.module import Labelled
from aetransfer.evaluation.numbers import check_finite
from aetransfer.networks.encoder import Encoder

Extract = Callable[[Tensor], Tensor]


def pooled(maps: Tensor, max_features: int) -> Tensor:
    """Flatten (N, C, S, S) or (N, S, S, C) to (N, at most max_features), but no less than one average a channel.

    Too large a map is averaged over equal windows to the largest grid that fits, tokens (N, L, D) over all of them.
    Vectors (N, D) stay as they are.
    """
    if maps.ndim == 2:
        return maps
    if maps.ndim == 3:
        return maps.mean(1)
    if maps.shape[2] != maps.shape[3]:
        maps = maps.movedim(3, 1)
    channels, size = maps.shape[1], maps.shape[2]
    assert maps.shape[2] == maps.shape[3], maps.shape
    grids = [grid for grid in range(1, size + 1) if size % grid == 0 and channels * grid * grid <= max_features]
    return F.avg_pool2d(maps, size // max(grids, default=1)).flatten(1)


def shrunk(images: Tensor, most: int) -> Tensor:
    """Average images (N, C, S, S) of more than `most` numbers to the largest square that has no more."""
    channels, size = images.shape[1], images.shape[2]
    side = math.isqrt(most // channels)
    return images if size <= side else F.adaptive_avg_pool2d(images, side)


def layer(encoder: Encoder, name: str, max_features: int) -> Extract:
    """Return what maps images to one layer's features; see `Encoder.layer_outputs` for the names."""
    if name == "bottleneck":
        return encoder
    return lambda images: pooled(encoder.layer_outputs(images)[name], max_features)


@torch.no_grad()
def extracted(extract: Extract, batches: Iterable[Labelled]) -> tuple[Tensor, Tensor]:
    """Gather features (N, D) float32 and labels (N,) int64 of all batches, on the CPU.

    Raises NoNumbersError for features that are NaN or infinite.
    """
    features, labels = [], []
    for images, targets in batches:
        features.append(extract(images).float().cpu())
        labels.append(targets.cpu())
    gathered = torch.cat(features)
    check_finite(gathered)
    return gathered, torch.cat(labels)


class Scale:
    """Standardise features by the mean and deviation of the training ones; a constant one becomes zero."""

    def __init__(self, features: Tensor) -> None:
        self.deviation, self.mean = torch.std_mean(features, dim=0, correction=0)
        self.deviation[self.deviation <= 1e-6 * self.deviation.max()] = torch.inf

    def __call__(self, features: Tensor) -> Tensor:
        return (features - self.mean) / self.deviation
