"""What a decoder's logits say about pixels: log-probabilities in nats, summed over the pixels of an image."""

import math
from abc import ABC, abstractmethod

import torch
from torch import Tensor, nn
from torch.distributions import ContinuousBernoulli as ContinuousBernoulliDistribution
from torch.nn import functional as F


class Likelihood(nn.Module, ABC):
    """p(image | logits), both (N, C, H, W), pixels in [0, 1]."""

    def observe(self, images: Tensor, generator: torch.Generator) -> Tensor:
        """Return what is modelled, and what the encoder sees, for images in [0, 1]."""
        return images

    @abstractmethod
    def nll(self, logits: Tensor, observed: Tensor) -> Tensor:
        """Return -log p(observed | logits) of each image, (N,), in nats."""

    def mean(self, logits: Tensor) -> Tensor:
        """Return the expected pixels, of the logits' shape, in [0, 1]."""
        return logits.sigmoid()


class Bernoulli(Likelihood):
    """Binary pixels, dynamically binarised: drawn anew from the grey values each time an image is seen.

    Salakhutdinov & Murray 2008. Grey targets would leave 45.5 nats to a perfect MNIST reconstruction.
    """

    def observe(self, images: Tensor, generator: torch.Generator) -> Tensor:
        return torch.bernoulli(images, generator=generator)

    def nll(self, logits: Tensor, observed: Tensor) -> Tensor:
        return F.binary_cross_entropy_with_logits(logits, observed, reduction="none").sum((1, 2, 3))


class ContinuousBernoulli(Likelihood):
    """Grey pixels, p proportional to l^x (1 - l)^(1 - x) on [0, 1] (Loaiza-Ganem & Cunningham 2019, eq. 6).

    Bernoulli's cross-entropy on grey pixels with the normaliser it lacks. A density, so its nll may be negative.
    """

    def nll(self, logits: Tensor, observed: Tensor) -> Tensor:
        return -self._pixels(logits).log_prob(observed).sum((1, 2, 3))

    def mean(self, logits: Tensor) -> Tensor:
        # Not the sigmoid: the normaliser draws the mean toward 1/2.
        return self._pixels(logits).mean

    def _pixels(self, logits: Tensor) -> ContinuousBernoulliDistribution:
        # A check of the pixels' range would wait for the device in each step.
        return ContinuousBernoulliDistribution(logits=logits, validate_args=False)


class Gaussian(Likelihood):
    """Grey pixels, N(sigmoid(logits), sigma^2) with one sigma for all (Rybkin et al. 2021, sigma-VAE, where learned).

    A density, so its nll may be negative; sigma is in units of pixel values in [0, 1].
    """

    log_sigma: Tensor

    def __init__(self, sigma: float | None = None) -> None:
        """sigma: None learns it."""
        super().__init__()
        if sigma is None:
            self.log_sigma = nn.Parameter(torch.zeros(()))
        else:
            self.register_buffer("log_sigma", torch.tensor(math.log(sigma)))

    def nll(self, logits: Tensor, observed: Tensor) -> Tensor:
        # A floor keeps a perfectly learnt pixel, such as a constant border, from driving the density to infinity.
        log_sigma = self.log_sigma.clamp_min(math.log(1e-3))
        standardised = (observed - logits.sigmoid()) * torch.exp(-log_sigma)
        return (0.5 * standardised.square() + log_sigma + 0.5 * math.log(2 * math.pi)).sum((1, 2, 3))


def make_likelihood(name: str, sigma: float | None) -> Likelihood:
    """Return the likelihood of that name; only a gaussian one has a sigma."""
    match name:
        case "bernoulli":
            return Bernoulli()
        case "continuous_bernoulli":
            return ContinuousBernoulli()
        case "gaussian":
            return Gaussian(sigma)
    raise ValueError(f"no likelihood is called {name}")
