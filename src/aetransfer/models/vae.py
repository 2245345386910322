"""The variational autoencoder (Kingma & Welling 2014), every term in nats an image.

-ELBO = distortion + rate: distortion = -log p(x | z) summed over pixels, rate = KL(q(z | x) || N(0, I)) summed over
latents. Averaging one over pixels and not the other would make it a beta-VAE with beta in the hundreds.
"""

from dataclasses import dataclass
from typing import Any, Literal

import torch
from pytorch_lightning import LightningModule
from torch import Tensor, nn

from aetransfer.config.monitor import monitor_of
from aetransfer.config.schema import Optimizer
from aetransfer.data.batches import Batch, Share
from aetransfer.models.content import content
from aetransfer.models.curve import log_step
from aetransfer.models.length import epochs_of
from aetransfer.models.likelihoods import make_likelihood
from aetransfer.models.metrics import ElboMetrics
from aetransfer.models.noise import step_generator
from aetransfer.models.optimisers import configure
from aetransfer.models.processes import mean_over_processes
from aetransfer.networks.encoder import Encoder

# exp of half a log-variance beyond this overflows long before it means anything.
MAX_LOG_VARIANCE = 20.0


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


class VAE(LightningModule):
    """The encoder's code is the posterior mean mu, so that it is carried on like an autoencoder's."""

    def __init__(
        self,
        encoder: Encoder,
        *,
        margin: int,
        optimizer: Optimizer,
        seed: int,
        likelihood: Literal["bernoulli", "continuous_bernoulli", "gaussian"],
        sigma: float | None,
        kl_weight: float,
        kl_warmup_epochs: int,
        kl_cycles: int,
        free_bits: float,
    ) -> None:
        """sigma: of a gaussian likelihood, None to learn it. kl_weight: beta. kl_cycles: see `beta`.

        free_bits: nats a latent may cost, averaged over the batch, before the KL pulls on it.
        """
        super().__init__()
        self.encoder = encoder
        self.log_variance = nn.Linear(encoder.num_features, encoder.latent_dim)
        # Starting near unit variance: a wide start would flood the decoder with noise.
        nn.init.zeros_(self.log_variance.weight)
        nn.init.zeros_(self.log_variance.bias)
        self.decoder = encoder.make_decoder()
        self.likelihood = make_likelihood(likelihood, sigma)
        self.margin, self.optimizer_config, self.seed = margin, optimizer, seed
        self.kl_weight, self.kl_warmup_epochs, self.kl_cycles = kl_weight, kl_warmup_epochs, kl_cycles
        self.free_bits = free_bits
        self.monitor, self.monitor_mode = monitor_of("vae", kl_weight, free_bits)
        self.val_metrics = ElboMetrics(encoder.latent_dim, kl_weight, free_bits)
        self.test_metrics = ElboMetrics(encoder.latent_dim, kl_weight, free_bits)

    def posterior(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Return mean and log-variance of q(z | x), (N, latent_dim) each."""
        features = self.encoder.features(images)
        return self.encoder.bottleneck(features), self.log_variance(features).clamp_max(MAX_LOG_VARIANCE)

    def terms(self, images: Tensor, generator: torch.Generator, share: Share | None = None) -> Terms:
        """Compute the ELBO's terms with one sample z an image.

        images: (N, C, S, S) in [0, 1]. share: of which batch they are a part, whose noise is drawn whole; None: they
        are all of it.
        """
        share = share or Share(len(images))
        observed = share.part(self.likelihood.observe(share.of_whole(images), generator))
        mean, log_variance = self.posterior(observed)
        shape = (share.whole, *mean.shape[1:])
        noise = share.part(torch.randn(shape, generator=generator, device=mean.device, dtype=mean.dtype))
        logits = self.decoder(mean + noise * torch.exp(0.5 * log_variance))
        distortion = self.likelihood.nll(content(logits, self.margin), content(observed, self.margin))
        kl = 0.5 * (mean.square() + log_variance.exp() - 1 - log_variance)
        return Terms(distortion, kl, mean, log_variance)

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

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        batches = self.trainer.current_epoch * int(self.trainer.num_training_batches) + batch_idx
        noise = step_generator("train", self.seed, batches, self.device)
        terms = self.terms(batch.images, noise, batch.share)
        ours = batch.share.mean(torch.column_stack([terms.distortion, terms.kl]))
        whole = mean_over_processes(ours)
        # Free bits as in Kingma et al. 2016, eq. 16: the minimum holds for a latent's average over the batch.
        paid_rate = torch.where(whole[1:] < self.free_bits, self.free_bits, ours[1:]).sum()
        distortion, rate = ours[0], ours[1:].sum()
        log_step(
            self,
            lambda: {"train/neg_elbo": distortion + rate, "train/distortion": distortion, "train/rate": rate},
        )
        return batch.share.weighted(distortion + self.beta(batches) * paid_rate)

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        self._measure(self.val_metrics, batch, step_generator("val", 0, batch_idx, self.device))
        self.log_dict(self.val_metrics.named("val"))

    def test_step(self, batch: Batch, batch_idx: int) -> None:
        self._measure(self.test_metrics, batch, step_generator("test", 0, batch_idx, self.device))
        self.log_dict(self.test_metrics.named("test"))

    def _measure(self, metrics: ElboMetrics, batch: Batch, noise: torch.Generator) -> None:
        terms, counted = self.terms(batch.images, noise, batch.share), batch.share.counted
        metrics.update(terms.distortion[:counted], terms.kl[:counted], terms.mean[:counted])

    def configure_optimizers(self) -> Any:
        total_steps = int(self.trainer.estimated_stepping_batches)
        encoder = [*self.encoder.parameters(), *self.log_variance.parameters()]
        decoder = [*self.decoder.parameters(), *self.likelihood.parameters()]
        encoder_lr = self.optimizer_config.encoder_lr or self.optimizer_config.lr
        groups = {"encoder": (encoder, encoder_lr), "decoder": (decoder, self.optimizer_config.lr)}
        return configure(self.optimizer_config, groups, total_steps)
