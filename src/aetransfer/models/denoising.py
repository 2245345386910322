"""The denoising autoencoder (Vincent et al. 2008, 2010): whole images from what noise has left of them."""

import torch
from torch import Tensor

from aetransfer.config.nodes import NonNegativeFloat
from aetransfer.data.batches import Batch
from aetransfer.models.autoencoder import AutoEncoder
from aetransfer.networks.encoder import Encoder


class DenoisingAutoEncoder(AutoEncoder):
    """Additive Gaussian noise, masking noise, or both; drawn anew each time an image is seen."""

    title = "denoising autoencoder"

    def __init__(self, encoder: Encoder, sigma: NonNegativeFloat = 0.3, masked: float = 0.0) -> None:
        """sigma: deviation of the noise, in units of pixels in [0, 1]. masked: the share of pixels set to zero.

        Raises ValueError for a share outside [0, 1).
        """
        super().__init__(encoder)
        if not 0 <= masked < 1:
            raise ValueError(f"masked={masked:g} should be from 0 up to, but not including, 1")
        self.sigma, self.masked = sigma, masked

    def encoded(self, batch: Batch) -> Tensor:
        assert batch.draws is not None
        noisy = batch.inputs + self.sigma * batch.draws.normal_like(batch.inputs)
        if self.masked:
            # All channels of a pixel together.
            seen = batch.draws.uniform_like(noisy[:, :1]) >= self.masked
            noisy = torch.where(seen, noisy, 0.0)
        return noisy
