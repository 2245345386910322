"""The rate of a VAE taken apart: what codes say about their image, and how far all codes together are from the prior.

    mean_n KL(q(z | x_n) || p(z)) = I_q(n; z) + KL(q(z) || p(z)),   q(z) = 1/N sum_n q(z | x_n)

Hoffman & Johnson 2016, "ELBO surgery", section 2. Both are estimated with one code an image, z_n ~ q(z | x_n), and
q(z_n) by the mean over all N posteriors, so q(z) is that of these N images exactly. I_q cannot exceed log N.
"""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

CODES_AT_A_TIME = 1000


@dataclass(frozen=True)
class Surgery:
    """Nats an image.

    marginal_kl_error: standard error of the mean over codes, for both terms alike where N is large. moments_kl: the KL
    of the Gaussian with the mean and covariance of q(z), exact, and the least that any q(z) with these can have.
    """

    mutual_information: float
    marginal_kl: float
    marginal_kl_error: float
    moments_kl: float
    most_information: float


def surgery(mean: Tensor, log_variance: Tensor, generator: torch.Generator) -> Surgery:
    """Estimate both terms. mean, log_variance: (N, D) of q(z | x_n). Done in float64, N^2 D operations."""
    mean, log_variance = mean.double(), log_variance.double()
    count = len(mean)
    noise = torch.randn(mean.shape, generator=generator, dtype=torch.float64)
    codes = mean + noise * torch.exp(0.5 * log_variance)
    normaliser = log_variance.sum(1)
    # log q and log p both without the D / 2 log(2 pi) that cancels wherever they meet.
    own = -0.5 * (noise.square().sum(1) + normaliser)
    prior = -0.5 * codes.square().sum(1)
    precision = torch.exp(-log_variance)
    weighted, constant = mean * precision, (mean.square() * precision).sum(1)
    aggregate = []
    for chunk in codes.split(CODES_AT_A_TIME):
        squares = chunk.square() @ precision.T - 2 * chunk @ weighted.T + constant
        aggregate.append((-0.5 * (squares + normaliser)).logsumexp(1) - math.log(count))
    log_q = torch.cat(aggregate)
    excess = log_q - prior
    return Surgery(
        mutual_information=(own - log_q).mean().item(),
        marginal_kl=excess.mean().item(),
        marginal_kl_error=excess.std().item() / math.sqrt(count) if count > 1 else 0.0,
        moments_kl=_moments_kl(mean, log_variance),
        most_information=math.log(count),
    )


def _moments_kl(mean: Tensor, log_variance: Tensor) -> float:
    """Return KL(N(m, C) || N(0, I)), m and C being the moments of the mixture of all posteriors."""
    centre = mean.mean(0)
    covariance = torch.cov(mean.T, correction=0).reshape(mean.shape[1], -1) + log_variance.exp().mean(0).diag()
    return (0.5 * (covariance.trace() + centre.square().sum() - len(centre) - covariance.logdet())).item()
