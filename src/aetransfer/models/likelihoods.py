"""What a decoder's logits say about inputs: log-probabilities in nats, summed over the values of an input.

Of inputs that are no pixels a likelihood has standardised ones, so that no channel's unit decides; only a gaussian one
is for them.
"""

import math
from abc import ABC, abstractmethod

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from aetransfer.models.metrics import at_least_single

LEAST_LOG_SIGMA = math.log(1e-3)


class Likelihood(nn.Module, ABC):
    """p(input | logits), both (N, *shape): pixels in [0, 1], or standardised inputs."""

    def observe(self, inputs: Tensor, generator: torch.Generator) -> Tensor:
        """Return what is modelled, and what the encoder sees, for inputs (N, *shape)."""
        return inputs

    @abstractmethod
    def nll(self, logits: Tensor, observed: Tensor) -> Tensor:
        """Return -log p(observed | logits) of each, (N,), in nats."""

    def mean(self, logits: Tensor) -> Tensor:
        """Return the expected inputs, of the logits' shape, pixels in [0, 1]."""
        return logits.sigmoid()


class Bernoulli(Likelihood):
    """Binary pixels, dynamically binarised: drawn anew from the grey values each time an image is seen.

    Salakhutdinov & Murray 2008. Grey targets would leave 45.5 nats to a perfect MNIST reconstruction.
    """

    def observe(self, images: Tensor, generator: torch.Generator) -> Tensor:
        return torch.bernoulli(images, generator=generator)

    def nll(self, logits: Tensor, observed: Tensor) -> Tensor:
        return _summed(F.binary_cross_entropy_with_logits(logits, observed, reduction="none"))


class ContinuousBernoulli(Likelihood):
    """Grey pixels, p proportional to l^x (1 - l)^(1 - x) on [0, 1] (Loaiza-Ganem & Cunningham 2019, eq. 6).

    Bernoulli's cross-entropy on grey pixels with the normaliser it lacks. A density, so its nll may be negative.
    """

    def nll(self, logits: Tensor, observed: Tensor) -> Tensor:
        logits = at_least_single(logits)
        cross_entropy = F.binary_cross_entropy_with_logits(logits, observed.to(logits.dtype), reduction="none")
        return _summed(cross_entropy - self._log_normaliser(logits))

    def mean(self, logits: Tensor) -> Tensor:
        """Return 1 / (1 - exp(-logits)) - 1 / logits (prop. 1): the normaliser draws it toward 1/2."""
        logits = at_least_single(logits)
        near, size = _near_zero(logits)
        away = -1 / torch.expm1(-size) - 1 / size
        return torch.where(near, 0.5 + logits / 12 - logits**3 / 720, torch.where(logits > 0, away, 1 - away))

    @staticmethod
    def _log_normaliser(logits: Tensor) -> Tensor:
        """Return log(|logits| / tanh(|logits| / 2)) (prop. 1).

        torch's ContinuousBernoulli keeps probabilities off 0 and 1 by an epsilon, and so black from being black.
        """
        near, size = _near_zero(logits)
        away = size.log() - (size / 2).tanh().log()
        return torch.where(near, math.log(2) + logits**2 / 12 - 7 * logits**4 / 1440, away)


def _near_zero(logits: Tensor) -> tuple[Tensor, Tensor]:
    """Tell where a Taylor series is exact to single precision, and return absolute logits, 1 where it is."""
    near = logits.abs() < 0.3
    return near, torch.where(near, 1.0, logits.abs())


class Gaussian(Likelihood):
    """N(mean, sigma^2) with one sigma for all (Rybkin et al. 2021, sigma-VAE, where learned).

    Of grey pixels the mean is sigmoid(logits), of standardised inputs the logits themselves. A density, so its nll may
    be negative; sigma is in units of pixel values in [0, 1], or of standardised inputs.
    """

    log_sigma: Tensor

    def __init__(self, sigma: float | None = None, pixels: bool = True) -> None:
        """sigma: None learns it."""
        super().__init__()
        self.pixels = pixels
        if sigma is None:
            self.log_sigma = nn.Parameter(torch.zeros(()))
        else:
            self.register_buffer("log_sigma", torch.tensor(math.log(sigma)))

    def nll(self, logits: Tensor, observed: Tensor) -> Tensor:
        log_sigma = self.log_sigma
        if isinstance(log_sigma, nn.Parameter):
            # A floor keeps a perfectly learnt pixel, such as a constant border, from driving the density to infinity.
            # It passes the gradient on, so that sigma can rise again.
            log_sigma = log_sigma + (LEAST_LOG_SIGMA - log_sigma).clamp_min(0).detach()
        standardised = (observed - self.mean(logits)) * torch.exp(-log_sigma)
        return _summed(0.5 * standardised.square() + log_sigma + 0.5 * math.log(2 * math.pi))

    def mean(self, logits: Tensor) -> Tensor:
        return logits.sigmoid() if self.pixels else logits


def _summed(values: Tensor) -> Tensor:
    return values.sum(tuple(range(1, values.ndim)))


def make_likelihood(name: str, sigma: float | None, pixels: bool = True) -> Likelihood:
    """Return the likelihood of that name; only a gaussian one has a sigma.

    pixels: whether inputs are pixels in [0, 1]. Raises ValueError for a likelihood of pixels where they are none.
    """
    if not pixels and name != "gaussian":
        raise ValueError(
            f"likelihood={name} is of pixels in [0, 1], and these inputs are floats of any range: set "
            "model.likelihood=gaussian (pretrain.model.likelihood=gaussian under a transfer)"
        )
    match name:
        case "bernoulli":
            return Bernoulli()
        case "continuous_bernoulli":
            return ContinuousBernoulli()
        case "gaussian":
            return Gaussian(sigma, pixels)
    raise ValueError(f"no likelihood is called {name}")
