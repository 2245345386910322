"""The denoising autoencoder (Vincent et al. 2008, 2010): whole inputs from what noise has left of them."""

import torch
from torch import Tensor

from aetransfer.config.nodes import NonNegativeFloat
from aetransfer.data.batches import Batch
from aetransfer.models.autoencoder import AutoEncoder
from aetransfer.networks.encoder import Encoder


class DenoisingAutoEncoder(AutoEncoder):
    """Additive Gaussian noise, masking noise, or both; drawn anew each time an input is seen."""

    title = "denoising autoencoder"

    def __init__(self, encoder: Encoder, sigma: NonNegativeFloat = 0.3, masked: float = 0.0) -> None:
        """sigma: deviation of the noise, in units of pixels in [0, 1], or of standardised inputs where they are none.

        masked: the share that is hidden of the pixels, which become zero, or of a signal's samples or a vector's
        features, which become the mean. All channels of a pixel or a sample are hidden together.

        Raises ValueError for a share outside [0, 1).
        """
        super().__init__(encoder)
        if not 0 <= masked < 1:
            raise ValueError(f"masked={masked:g} should be from 0 up to, but not including, 1")
        self.sigma, self.masked = sigma, masked

    def encoded(self, batch: Batch) -> Tensor:
        assert batch.draws is not None
        noise, normalise = self.sigma * batch.draws.normal_like(batch.inputs), self.encoder.normalise
        noisy = batch.inputs + (noise if self.encoder.takes_pixels else noise * normalise.deviation)
        if self.masked:
            places = noisy if noisy.ndim == 2 else noisy[:, :1]
            seen = batch.draws.uniform_like(places) >= self.masked
            noisy = torch.where(seen, noisy, 0.0 if self.encoder.takes_pixels else normalise.mean)
        return noisy
