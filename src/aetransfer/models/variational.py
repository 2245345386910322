"""What a VAE and its relatives share: a Gaussian posterior over codes, the prior N(0, I), and a likelihood of inputs.

Every term is in nats an example, summed over its values (pixels) and over latents. Of inputs that are no pixels, the
likelihood is a density of standardised inputs: nats of data with other statistics are of another unit.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torchmetrics import Metric

from aetransfer.config.shapes import a
from aetransfer.data.batches import content
from aetransfer.data.draws import Share
from aetransfer.models.base import Pretext
from aetransfer.models.capabilities import HasPosterior, caveat, learnt
from aetransfer.models.facts import Quantity
from aetransfer.models.likelihoods import make_likelihood
from aetransfer.models.metrics import ActiveUnits
from aetransfer.models.optimisation import Rates
from aetransfer.networks.encoder import Encoder

# exp of half a log-variance beyond this overflows long before it means anything.
MAX_LOG_VARIANCE = 20.0


def elbo(encoder: Encoder) -> dict[str, Quantity]:
    """Return what is measured of every such model."""
    one = a(encoder.input_shape)
    return {
        "neg_elbo": Quantity(f"-ELBO, nats {one}: distortion + rate"),
        "distortion": Quantity(f"distortion, nats {one}"),
        "rate": Quantity(f"rate: KL to the prior, nats {one}", None),
        "active_units": Quantity("latent units whose mean varies over the data", None),
    }


def divergence(mean: Tensor, log_variance: Tensor) -> Tensor:
    """Return KL(q || N(0, 1)) of each latent in nats, of the shape of its mean and log-variance."""
    return 0.5 * (mean.square() + log_variance.exp() - 1 - log_variance)


@dataclass(frozen=True)
class Weighed:
    """k codes of each input. nll: -log p(x | z). log_weights: log p(x | z) p(z) / q(z | x). Both (N, k), in nats.

    mean, log_variance: (N, latent_dim), of q(z | x).
    """

    nll: Tensor
    log_weights: Tensor
    mean: Tensor
    log_variance: Tensor


def weigh(model: HasPosterior, observed: Tensor, noise: Tensor, margin: int = 0) -> Weighed:
    """Draw codes of inputs and weigh them by their importance (Burda et al. 2016, eq. 8).

    observed: (N, *shape), as the likelihood has it. noise: (N, k, latent_dim), standard normal. margin: pixels of
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

    drawn: how many codes of an input its numbers are of, in words.
    """

    drawn = "one sample"

    def __init__(self, encoder: Encoder, likelihood: str, sigma: float | None) -> None:
        """likelihood: see `make_likelihood`. sigma: of a gaussian one, None to learn it.

        Raises ValueError for a sigma of another likelihood, a likelihood of pixels for other inputs, and an encoder
        without a bottleneck.
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
        self.likelihood = make_likelihood(likelihood, sigma, encoder.takes_pixels)
        self.likelihood_name = likelihood

    @property
    def summary(self) -> str:
        return learnt(self.encoder)

    def caveats(self) -> list[str]:
        seen = "of freshly binarised images" if self.likelihood_name == "bernoulli" else "of grey values"
        if not self.encoder.takes_pixels:
            seen = "of a density of standardised inputs"
        one = a(self.encoder.input_shape)
        return [
            caveat(self.encoder),
            f"Nats are {seen} under a {self.likelihood_name} likelihood, with {self.drawn} {one}.",
        ]

    def whole_split(self) -> Mapping[str, Metric]:
        return {"active_units": ActiveUnits(self.encoder.latent_dim)}

    def observe(self, inputs: Tensor, generator: torch.Generator) -> Tensor:
        return self.likelihood.observe(inputs, generator)

    def observed(self, inputs: Tensor, generator: torch.Generator, share: Share) -> Tensor:
        """Return what is modelled of a process's inputs (B, *shape): what is drawn for them, their whole batch has."""
        return share.part(self.observe(share.of_whole(inputs), generator))

    def posterior(self, inputs: Tensor) -> tuple[Tensor, Tensor]:
        """Return mean and log-variance of q(z | x), (N, latent_dim) each."""
        features = self.encoder.features(inputs)
        return self.encoder.bottleneck(features), self.log_variance(features).clamp_max(MAX_LOG_VARIANCE)

    def nll(self, codes: Tensor, observed: Tensor, margin: int) -> Tensor:
        """Return -log p(observed | code) of each, (N,), in nats, on what is inside the margin.

        A density of inputs as they are would be less by the log of each channel's deviation, a value.
        """
        logits, observed = content(self.decoder(codes), margin), content(observed, margin)
        return self.likelihood.nll(logits, observed if self.encoder.takes_pixels else self.encoder.normalise(observed))

    def reconstruct(self, inputs: Tensor) -> Tensor:
        return self.decode(self.encoder(inputs))

    def decode(self, codes: Tensor) -> Tensor:
        mean = self.likelihood.mean(self.decoder(codes))
        return mean if self.encoder.takes_pixels else self.encoder.normalise.undone(mean)

    def sample(self, count: int, generator: torch.Generator) -> Tensor:
        weight = self.log_variance.weight
        codes = torch.randn(
            count, self.encoder.latent_dim, generator=generator, device=weight.device, dtype=weight.dtype
        )
        return self.decode(codes)

    def rates(self) -> Rates:
        """Train what reads the features with the encoder, and what draws inputs with the decoder."""
        lr, encoder_lr = self.optimisation.lr, self.optimisation.encoder_lr
        return {
            "encoder": ([*self.encoder.parameters(), *self.log_variance.parameters()], encoder_lr),
            "decoder": ([*self.decoder.parameters(), *self.likelihood.parameters()], lr),
        }
