"""The masked autoencoder of a convolutional network (Pathak et al. 2016; He et al. 2022): hidden patches from the rest.

A patch is a square of an image, a stretch of a signal, a single feature of a vector. Patches are hidden at the input,
where the data's mean stands in their place. The loss is that of their values alone.
"""

import torch
from torch import Tensor
from torch.nn import functional as F

from aetransfer.config.nodes import PositiveInt
from aetransfer.data.batches import Batch
from aetransfer.models.autoencoder import AutoEncoder
from aetransfer.models.base import Outputs
from aetransfer.networks.encoder import Encoder


class MaskedAutoEncoder(AutoEncoder):
    """As many patches of each input are hidden, others each time that it is seen."""

    title = "masked autoencoder"
    of = "of a hidden"

    def __init__(self, encoder: Encoder, patch: PositiveInt = 4, masked: float = 0.5) -> None:
        """patch: side of a patch, in pixels or samples; a vector's are single features.

        masked: the share of the patches that is hidden.

        Raises ValueError for a share outside (0, 1).
        """
        super().__init__(encoder)
        if not 0 < masked < 1:
            raise ValueError(f"masked={masked:g} should be above 0 and below 1")
        self.patch, self.masked = patch, masked

    def hidden(self, batch: Batch) -> Tensor:
        """Draw what is hidden, of 0 and 1: (B, 1, H, W) of images, (B, 1, L) of signals, (B, D) of vectors.

        A patch at the edge may be cut off.
        """
        assert batch.draws is not None
        axes = batch.inputs.ndim - 2
        every = (slice(None, None, self.patch),) * axes
        cells = batch.inputs[:, :1, *every] if axes else batch.inputs
        drawn = batch.draws.uniform_like(cells)
        ranks = drawn.flatten(1).argsort(1).argsort(1)
        count = max(1, min(round(self.masked * ranks.shape[1]), ranks.shape[1] - 1))
        grid = (ranks < count).view_as(drawn)
        mask = grid.to(batch.inputs.dtype)
        if axes:
            mask = F.interpolate(mask, scale_factor=self.patch, mode="nearest")
        for axis, size in enumerate(batch.inputs.shape[2:], 2):
            mask = mask.narrow(axis, 0, size)
        return mask

    def step(self, batch: Batch) -> Outputs:
        mask = self.hidden(batch)
        seen = torch.where(mask.bool(), self.encoder.normalise.mean, batch.inputs)
        difference = batch.content((self.reconstruct(seen) - batch.inputs) * mask)
        axes = tuple(range(1, mask.ndim))
        values = batch.content(mask).sum(axes).clamp_min(1) * (batch.inputs.shape[1] // mask.shape[1])
        error = self.encoder.in_loss_units(difference).square().sum(axes) / values
        return {"loss": error, "mse": error}
