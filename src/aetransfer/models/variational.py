"""What a VAE and its relatives share: a Gaussian posterior over codes, the prior N(0, I), and a likelihood of pixels.

Every term is in nats an image, summed over pixels and over latents.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torchmetrics import Metric

from aetransfer.data.batches import content
from aetransfer.data.draws import Share
from aetransfer.models.base import Pretext
from aetransfer.models.capabilities import HasPosterior
from aetransfer.models.facts import Quantity
from aetransfer.models.likelihoods import make_likelihood
from aetransfer.models.metrics import ActiveUnits
from aetransfer.models.optimisation import Rates
from aetransfer.networks.encoder import Encoder

# exp of half a log-variance beyond this overflows long before it means anything.
MAX_LOG_VARIANCE = 20.0

ELBO = {
    "neg_elbo": Quantity("-ELBO, nats an image: distortion + rate"),
    "distortion": Quantity("distortion, nats an image"),
    "rate": Quantity("rate: KL to the prior, nats an image", None),
    "active_units": Quantity("latent units whose mean varies over the data", None),
}


def divergence(mean: Tensor, log_variance: Tensor) -> Tensor:
    """Return KL(q || N(0, 1)) of each latent in nats, of the shape of its mean and log-variance."""
    return 0.5 * (mean.square() + log_variance.exp() - 1 - log_variance)


@dataclass(frozen=True)
class Weighed:
    """k codes of each image. nll: -log p(x | z). log_weights: log p(x | z) p(z) / q(z | x). Both (N, k), in nats.

    mean, log_variance: (N, latent_dim), of q(z | x).
    """

    nll: Tensor
    log_weights: Tensor
    mean: Tensor
    log_variance: Tensor


def weigh(model: HasPosterior, observed: Tensor, noise: Tensor, margin: int = 0) -> Weighed:
    """Draw codes of images and weigh them by their importance (Burda et al. 2016, eq. 8).

    observed: (N, C, S, S), as the likelihood has it. noise: (N, k, latent_dim), standard normal. margin: pixels of
    padding on each side.
    """
    mean, log_variance = model.posterior(observed)
    spread = log_variance.unsqueeze(1)
    codes = mean.unsqueeze(1) + noise * torch.exp(0.5 * spread)
    # log p(z) - log q(z | x), whose normalisers cancel.
    log_prior_ratio = 0.5 * (noise.square() - codes.square() + spread).sum(2)
    repeated = observed.repeat_interleave(noise.shape[1], dim=0)
    nll = model.nll(codes.flatten(0, 1), repeated, margin).view(noise.shape[:2])
    return Weighed(nll, log_prior_ratio - nll, mean, log_variance)


class Variational(Pretext):
    """The encoder's code is the posterior mean mu, so that it is carried on like an autoencoder's.

    drawn: how many codes of an image its numbers are of, in words.
    """

    drawn = "one sample"

    def __init__(self, encoder: Encoder, likelihood: str, sigma: float | None) -> None:
        """likelihood: see `make_likelihood`. sigma: of a gaussian one, None to learn it.

        Raises ValueError for a sigma of another likelihood, and for an encoder without a bottleneck.
        """
        super().__init__(encoder)
        if encoder.code_is_features:
            raise ValueError("its posterior needs a bottleneck: set encoder.latent_dim")
        if sigma is not None and likelihood != "gaussian":
            raise ValueError(f"sigma={sigma:g} belongs to likelihood=gaussian, not to {likelihood}")
        self.log_variance = nn.Linear(encoder.num_features, encoder.latent_dim)
        # Starting near unit variance: a wide start would flood the decoder with noise.
        nn.init.zeros_(self.log_variance.weight)
        nn.init.zeros_(self.log_variance.bias)
        self.decoder = encoder.make_decoder()
        self.likelihood = make_likelihood(likelihood, sigma)
        self.likelihood_name = likelihood

    @property
    def summary(self) -> str:
        return "An encoder and a decoder that learnt to reconstruct images"

    def caveats(self) -> list[str]:
        seen = "of freshly binarised images" if self.likelihood_name == "bernoulli" else "of grey values"
        return [
            "How well images are reconstructed does not say how well the codes tell classes apart.",
            f"Nats are {seen} under a {self.likelihood_name} likelihood, with {self.drawn} an image.",
        ]

    def whole_split(self) -> Mapping[str, Metric]:
        return {"active_units": ActiveUnits(self.encoder.latent_dim)}

    def observe(self, inputs: Tensor, generator: torch.Generator) -> Tensor:
        """Return what is modelled, and what the encoder sees, for images in [0, 1]."""
        return self.likelihood.observe(inputs, generator)

    def observed(self, images: Tensor, generator: torch.Generator, share: Share) -> Tensor:
        """Return what is modelled of a process's images (B, C, S, S): what is drawn for them, their whole batch has."""
        return share.part(self.observe(share.of_whole(images), generator))

    def posterior(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Return mean and log-variance of q(z | x), (N, latent_dim) each."""
        features = self.encoder.features(images)
        return self.encoder.bottleneck(features), self.log_variance(features).clamp_max(MAX_LOG_VARIANCE)

    def nll(self, codes: Tensor, observed: Tensor, margin: int) -> Tensor:
        """Return -log p(observed | code) of each image, (N,), in nats, on what is inside the margin."""
        return self.likelihood.nll(content(self.decoder(codes), margin), content(observed, margin))

    def reconstruct(self, images: Tensor) -> Tensor:
        """Map (N, C, S, S) in [0, 1] to pixel means decoded from mu, of the same shape and range."""
        return self.decode(self.encoder(images))

    def decode(self, codes: Tensor) -> Tensor:
        """Map codes (N, latent_dim) to pixel means (N, C, S, S)."""
        return self.likelihood.mean(self.decoder(codes))

    def sample(self, count: int, generator: torch.Generator) -> Tensor:
        """Draw pixel means (count, C, S, S) from the prior."""
        weight = self.log_variance.weight
        codes = torch.randn(
            count, self.encoder.latent_dim, generator=generator, device=weight.device, dtype=weight.dtype
        )
        return self.decode(codes)

    def rates(self) -> Rates:
        """Train what reads the features with the encoder, and what draws pixels with the decoder."""
        lr, encoder_lr = self.optimisation.lr, self.optimisation.encoder_lr
        return {
            "encoder": ([*self.encoder.parameters(), *self.log_variance.parameters()], encoder_lr),
            "decoder": ([*self.decoder.parameters(), *self.likelihood.parameters()], lr),
        }
