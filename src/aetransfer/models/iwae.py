"""The importance-weighted autoencoder (Burda et al. 2016): a VAE that trains for the bound of several codes an input.

    -log p(x) <= -E log 1/k sum_i w_i,   w_i = p(x | z_i) p(z_i) / q(z_i | x),   z_i ~ q(z | x)      (eq. 8)

Nats an example. One code gives the negative ELBO with its rate sampled; with more of them the bound is tighter, and q
need not be the whole posterior.
"""

import math
from collections.abc import Mapping
from typing import Literal

from aetransfer.config.nodes import PositiveFloat, PositiveInt
from aetransfer.config.shapes import a
from aetransfer.data.batches import Batch
from aetransfer.models.base import Outputs
from aetransfer.models.facts import Quantity
from aetransfer.models.variational import Variational, divergence, elbo, weigh
from aetransfer.networks.encoder import Encoder


class IWAE(Variational):
    title = "importance-weighted autoencoder"

    def __init__(
        self,
        encoder: Encoder,
        *,
        likelihood: Literal["bernoulli", "continuous_bernoulli", "gaussian"] = "bernoulli",
        sigma: PositiveFloat | None = None,
        samples: PositiveInt = 5,
    ) -> None:
        """samples: k, codes an input; each is decoded. sigma: of a gaussian likelihood, None to learn it.

        Raises ValueError for a sigma of another likelihood, and for a likelihood of pixels for other inputs.
        """
        super().__init__(encoder, likelihood, sigma)
        self.samples = samples
        self.drawn = f"{samples} sample{'s' if samples > 1 else ''}"

    @property
    def metrics(self) -> Mapping[str, Quantity]:  # type: ignore[override]
        words = f"importance-weighted bound (k={self.samples}) on -log p(x), nats {a(self.encoder.input_shape)}"
        return {"iwae": Quantity(words), **elbo(self.encoder)}

    def caveats(self) -> list[str]:
        return [
            *super().caveats(),
            "More samples give a tighter iwae: evaluation=vae compares runs that differ in them, or with a VAE.",
        ]

    def step(self, batch: Batch) -> Outputs:
        assert batch.draws is not None
        observed = self.observed(batch.inputs, batch.draws.generator, batch.share)
        noise = batch.draws.normal_like(observed.new_empty(len(observed), self.samples, self.encoder.latent_dim))
        codes = weigh(self, observed, noise, batch.margin)
        bound = math.log(self.samples) - codes.log_weights.logsumexp(1)
        distortion, rate = codes.nll.mean(1), divergence(codes.mean, codes.log_variance).sum(1)
        return {
            "loss": bound,
            "iwae": bound,
            "neg_elbo": distortion + rate,
            "distortion": distortion,
            "rate": rate,
            "means": codes.mean,
        }
