"""The masked autoencoder of a convolutional network (Pathak et al. 2016; He et al. 2022): hidden patches from the rest.

Patches are hidden at the input, where the data's mean stands in their place. The loss is that of their pixels alone.
"""

from collections.abc import Mapping
from typing import ClassVar

import torch
from torch import Tensor
from torch.nn import functional as F

from aetransfer.config.nodes import PositiveInt
from aetransfer.data.batches import Batch
from aetransfer.models.autoencoder import AutoEncoder
from aetransfer.models.base import Outputs
from aetransfer.models.facts import Quantity
from aetransfer.networks.encoder import Encoder


class MaskedAutoEncoder(AutoEncoder):
    """As many patches of each image are hidden, others each time that it is seen."""

    title = "masked autoencoder"
    metrics: ClassVar[Mapping[str, Quantity]] = {
        "mse": Quantity("mean squared error of a hidden pixel, of images in [0, 1]")
    }

    def __init__(self, encoder: Encoder, patch: PositiveInt = 4, masked: float = 0.5) -> None:
        """patch: side of a patch, in pixels. masked: the share of the patches that is hidden.

        Raises ValueError for a share outside (0, 1).
        """
        super().__init__(encoder)
        if not 0 < masked < 1:
            raise ValueError(f"masked={masked:g} should be above 0 and below 1")
        self.patch, self.masked = patch, masked

    def hidden(self, batch: Batch) -> Tensor:
        """Draw which pixels are hidden, (B, 1, H, W) of 0 and 1; a patch at the edge may be cut off."""
        assert batch.draws is not None
        height, width = batch.inputs.shape[-2:]
        drawn = batch.draws.uniform_like(batch.inputs[:, :1, :: self.patch, :: self.patch])
        ranks = drawn.flatten(1).argsort(1).argsort(1)
        count = max(1, min(round(self.masked * ranks.shape[1]), ranks.shape[1] - 1))
        grid = (ranks < count).view_as(drawn)
        mask = F.interpolate(grid.to(batch.inputs.dtype), scale_factor=self.patch, mode="nearest")
        return mask[..., :height, :width]

    def step(self, batch: Batch) -> Outputs:
        mask = self.hidden(batch)
        seen = torch.where(mask.bool(), self.encoder.normalise.mean, batch.inputs)
        difference = batch.content((self.reconstruct(seen) - batch.inputs) * mask)
        pixels = batch.content(mask).sum((1, 2, 3)).clamp_min(1) * batch.inputs.shape[1]
        error = difference.square().sum((1, 2, 3)) / pixels
        return {"loss": error, "mse": error}
