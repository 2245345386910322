"""What a decoder's logits say about pixels: log-probabilities in nats, summed over the pixels of an image."""

import math
from abc import ABC, abstractmethod

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class Likelihood(nn.Module, ABC):
    """p(image | logits), both (N, C, H, W), pixels in [0, 1]."""

    def observe(self, images: Tensor, generator: torch.Generator) -> Tensor:
        """Return what is modelled, and what the encoder sees, for images in [0, 1]."""
        return images

    @abstractmethod
    def nll(self, logits: Tensor, observed: Tensor) -> Tensor:
        """Return -log p(observed | logits) of each image, (N,), in nats."""


class Bernoulli(Likelihood):
    """Binary pixels, dynamically binarised: drawn anew from the grey values each time an image is seen.

    Salakhutdinov & Murray 2008. Grey targets would leave 45.5 nats to a perfect MNIST reconstruction.
    """

    def observe(self, images: Tensor, generator: torch.Generator) -> Tensor:
        return torch.bernoulli(images, generator=generator)

    def nll(self, logits: Tensor, observed: Tensor) -> Tensor:
        return F.binary_cross_entropy_with_logits(logits, observed, reduction="none").sum((1, 2, 3))


class Gaussian(Likelihood):
    """Grey pixels, N(sigmoid(logits), sigma^2) with one learned sigma (Rybkin et al. 2021, sigma-VAE).

    A density, so its nll may be negative; sigma is in units of pixel values in [0, 1].
    """

    def __init__(self) -> None:
        super().__init__()
        self.log_sigma = nn.Parameter(torch.zeros(()))

    def nll(self, logits: Tensor, observed: Tensor) -> Tensor:
        # A floor keeps a perfectly learnt pixel, such as a constant border, from driving the density to infinity.
        log_sigma = self.log_sigma.clamp_min(math.log(1e-3))
        standardised = (observed - logits.sigmoid()) * torch.exp(-log_sigma)
        return (0.5 * standardised.square() + log_sigma + 0.5 * math.log(2 * math.pi)).sum((1, 2, 3))


LIKELIHOODS = {"bernoulli": Bernoulli, "gaussian": Gaussian}
