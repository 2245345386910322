"""The variational autoencoder (Kingma & Welling 2014), every term in nats an example.

-ELBO = distortion + rate: distortion = -log p(x | z) summed over values, rate = KL(q(z | x) || N(0, I)) summed over
latents. Averaging one over values and not the other would make it a beta-VAE with beta in the hundreds.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor
from torchmetrics import Metric

from aetransfer.config.nodes import NonNegativeFloat, NonNegativeInt, PositiveFloat, PositiveInt
from aetransfer.config.shapes import a
from aetransfer.data.batches import Batch
from aetransfer.data.draws import Share
from aetransfer.models.base import Outputs
from aetransfer.models.facts import Quantity
from aetransfer.models.length import epochs_of
from aetransfer.models.metrics import VAELoss
from aetransfer.models.processes import mean_over_processes
from aetransfer.models.variational import Variational, divergence, elbo
from aetransfer.networks.encoder import Encoder


@dataclass(frozen=True)
class Terms:
    """distortion (N,) and kl (N, latent_dim) of one batch, nats; mean and log_variance (N, latent_dim) of q(z | x)."""

    distortion: Tensor
    kl: Tensor
    mean: Tensor
    log_variance: Tensor

    @property
    def rate(self) -> Tensor:
        return self.kl.sum(1)


class VAE(Variational):
    title = "variational autoencoder"

    def __init__(
        self,
        encoder: Encoder,
        *,
        likelihood: Literal["bernoulli", "continuous_bernoulli", "gaussian"] = "bernoulli",
        sigma: PositiveFloat | None = None,
        kl_weight: NonNegativeFloat = 1.0,
        kl_warmup_epochs: NonNegativeInt = 5,
        kl_cycles: PositiveInt = 1,
        free_bits: NonNegativeFloat = 0.0,
    ) -> None:
        """sigma: of a gaussian likelihood, None to learn it. kl_weight: beta. kl_cycles: see `beta`.

        free_bits: nats a latent may cost, averaged over the batch, before the KL pulls on it. Raises ValueError for
        settings that have no meaning together.
        """
        super().__init__(encoder, likelihood, sigma)
        if kl_cycles > 1 and kl_warmup_epochs == 0:
            raise ValueError(f"kl_cycles={kl_cycles}, but with kl_warmup_epochs=0 nothing rises in a cycle: raise it")
        self.kl_weight, self.kl_warmup_epochs, self.kl_cycles = kl_weight, kl_warmup_epochs, kl_cycles
        self.free_bits = free_bits

    @property
    def metrics(self) -> Mapping[str, Quantity]:  # type: ignore[override]
        if self.trains_elbo:
            return elbo(self.encoder)
        words = f"what is minimised, nats {a(self.encoder.input_shape)}: distortion + beta x the rate that is paid for"
        return {**elbo(self.encoder), "loss": Quantity(words, None)}

    @property
    def trains_elbo(self) -> bool:
        return self.kl_weight == 1 and self.free_bits == 0

    @property
    def chosen_by(self) -> str:
        return "neg_elbo" if self.trains_elbo else "loss"

    def terms(self, inputs: Tensor, generator: torch.Generator, margin: int = 0, share: Share | None = None) -> Terms:
        """Compute the ELBO's terms with one sample z an input.

        inputs: (N, *shape). margin: pixels of padding on each side, which cost nothing. share: of which
        batch they are a part, whose noise is drawn whole; None: they are all of it.
        """
        share = share or Share(len(inputs))
        observed = self.observed(inputs, generator, share)
        mean, log_variance = self.posterior(observed)
        shape = (share.whole, *mean.shape[1:])
        noise = share.part(torch.randn(shape, generator=generator, device=mean.device, dtype=mean.dtype))
        distortion = self.nll(mean + noise * torch.exp(0.5 * log_variance), observed, margin)
        return Terms(distortion, divergence(mean, log_variance), mean, log_variance)

    def beta(self, batches: int) -> float:
        """Return the weight of the rate after so many batches: it rises linearly to `kl_weight` over the warm-up.

        With several cycles it falls back to 0 and rises again at the start of each (Fu et al. 2019); they are equally
        long.
        """
        if self.kl_warmup_epochs == 0:
            return self.kl_weight
        epochs = batches / max(1, self.trainer.num_training_batches)
        if self.kl_cycles > 1:
            epochs %= epochs_of(self.trainer) / self.kl_cycles
        return self.kl_weight * min(1.0, epochs / self.kl_warmup_epochs)

    def step(self, batch: Batch) -> Outputs:
        assert batch.draws is not None
        terms = self.terms(batch.inputs, batch.draws.generator, batch.margin, batch.share)
        return {
            "neg_elbo": terms.distortion + terms.rate,
            "distortion": terms.distortion,
            "rate": terms.rate,
            "kl": terms.kl,
            "means": terms.mean,
        }

    def objective(self, outputs: Outputs, batch: Batch) -> Tensor:
        ours = batch.share.mean(torch.column_stack([outputs["distortion"], outputs["kl"]]))
        whole = mean_over_processes(ours)
        # Free bits as in Kingma et al. 2016, eq. 16: the minimum holds for a latent's average over the batch.
        paid_rate = torch.where(whole[1:] < self.free_bits, self.free_bits, ours[1:]).sum()
        assert batch.draws is not None
        return ours[0] + self.beta(batch.draws.step) * paid_rate

    def whole_split(self) -> Mapping[str, Metric]:
        units = super().whole_split()
        if self.trains_elbo:
            return units
        return {**units, "loss": VAELoss(self.encoder.latent_dim, self.kl_weight, self.free_bits)}
