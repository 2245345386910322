"""A VAE in nats: where they go (rate, distortion, units), how tight the bound is, and how well codes fit the prior."""

import math

import torch
from torch import Tensor

from aetransfer.config.nodes import PositiveInt, Seed
from aetransfer.config.shapes import a
from aetransfer.data.draws import step_generator
from aetransfer.evaluation.aggregate import surgery
from aetransfer.evaluation.importance import image_bounds
from aetransfer.evaluation.measure import Measure
from aetransfer.evaluation.numbers import check_finite
from aetransfer.evaluation.outcome import Outcome
from aetransfer.evaluation.pictures import unit_bars
from aetransfer.evaluation.subject import Subject
from aetransfer.models.capabilities import HasPosterior
from aetransfer.models.metrics import THRESHOLD
from aetransfer.models.variational import divergence

BATCH = 250
CPU = torch.device("cpu")


class Variational(Measure):
    """A VAE's terms, and importance-weighted likelihood from `samples` codes each of `images` images."""

    needs_memory = ("decoded_at_once", "samples")
    needs = "posterior"

    def __init__(
        self,
        samples: PositiveInt = 500,
        images: PositiveInt | None = 1000,
        decoded_at_once: PositiveInt = 2000,
        seed: Seed = 0,
    ) -> None:
        self.samples, self.images, self.decoded_at_once, self.seed = samples, images, decoded_at_once, seed

    def __call__(self, subject: Subject) -> Outcome:
        """Measure a VAE, or another model with a posterior."""
        model = subject.model
        assert isinstance(model, HasPosterior)
        subject.open(subject.part)
        mean, log_variance, distortion = _whole_split(subject, model, self.seed)
        kl = divergence(mean, log_variance)
        variance = mean.var(0, correction=0)
        rate = kl.sum(1)
        taken_apart = surgery(mean, log_variance, step_generator("importance", self.seed, 2**20 - 1, CPU))
        bounds = _bounds(subject, model, self)
        gap = bounds[:, 0] - bounds[:, 1]
        # Of what was drawn: a code for each image of the split, and which images have measured the gap.
        error = (bounds[:, 2].mean() / len(mean) + gap.var() / len(gap)).sqrt().item()
        noun, one = subject.data.noun, a(subject.data.shape)
        units = sorted(zip(kl.mean(0).tolist(), variance.tolist(), strict=True), reverse=True)
        neg_elbo = (distortion + rate).mean().item()
        row = {
            "neg_elbo": neg_elbo,
            "distortion": distortion.mean().item(),
            "rate": rate.mean().item(),
            "active_units": int((variance > THRESHOLD).sum()),
            "units": mean.shape[1],
            f"iw_nll (k={self.samples})": neg_elbo - gap.mean().item(),
            "± SE": None if math.isnan(error) else error,
            "gap": gap.mean().item(),
            noun: len(gap),
            "I(n; z)": taken_apart.mutual_information,
            "KL(q(z) || p)": taken_apart.marginal_kl,
            "of moments": taken_apart.moments_kl,
        }
        return Outcome(
            [row],
            facts={
                "kl_per_unit": [kl for kl, _ in units],
                "variance_of_mean_per_unit": [spread for _, spread in units],
                "of_the_images": {"neg_elbo": bounds[:, 0].mean().item(), "iw_nll": bounds[:, 1].mean().item()},
                "marginal_kl_error": taken_apart.marginal_kl_error,
                "most_information": taken_apart.most_information,
            },
            notes=[
                *subject.facts.caveats,
                f"Nats {one}. neg_elbo, distortion and rate: one code {one}, all {len(mean)} of {subject.part}. "
                f"iw_nll: that less the gap between the two bounds, which {self.samples} codes each of {len(gap)} "
                f"{noun} measure. SE: of the codes and the {noun} drawn for this. {noun.capitalize()} differ in their "
                "cost by tens of nats, in their gap by a few.",
                "Bernoulli pixels are binarised dynamically, from the grey values: once for the terms, once for the "
                "gap."
                if subject.encoder.takes_pixels
                else "Densities are of standardised inputs, each channel by its mean and deviation in training: in "
                "their own units -ELBO and distortion are larger by the sum of the logarithms of these deviations.",
                f"I(n; z) + KL(q(z) || p) estimate the rate (Hoffman & Johnson 2016), q(z) being the mean of all "
                f"{len(mean)} posteriors: I(n; z) cannot exceed log {len(mean)} = {taken_apart.most_information:.1f}. "
                "of moments: the KL of a Gaussian with q(z)'s mean and covariance, which no q(z) with these falls "
                "below.",
            ],
            pictures={"kl_per_unit": unit_bars([kl for kl, _ in units], one)},
        )


@torch.no_grad()
def _whole_split(subject: Subject, model: HasPosterior, seed: int) -> tuple[Tensor, Tensor, Tensor]:
    """Return mean, log-variance (N, latent_dim) and distortion (N,) of a split, float64 on the CPU.

    Raises NoNumbersError for NaN in them.
    """
    means, log_variances, distortions = [], [], []
    for number, (images, _) in enumerate(subject.data.in_order(subject.part, BATCH, subject.device)):
        generator = step_generator("test", seed, number, subject.device)
        observed = model.observe(images, generator)
        mean, log_variance = model.posterior(observed)
        noise = torch.randn(mean.shape, generator=generator, device=mean.device, dtype=mean.dtype)
        codes = mean + noise * torch.exp(0.5 * log_variance)
        means.append(mean.cpu().double())
        log_variances.append(log_variance.cpu().double())
        distortions.append(model.nll(codes, observed, subject.data.margin).cpu().double())
    mean, log_variance, distortion = torch.cat(means), torch.cat(log_variances), torch.cat(distortions)
    check_finite(torch.cat([mean, log_variance, distortion.unsqueeze(1)], 1))
    return mean, log_variance, distortion


def _bounds(subject: Subject, model: HasPosterior, settings: Variational) -> Tensor:
    """Return (-ELBO, importance-weighted NLL, variance of one code's -ELBO) of `settings.images` images, (N, 3)."""
    bounds: list[Tensor] = []
    for images, _ in subject.data.in_order(subject.part, BATCH, subject.device, settings.images):
        bounds += image_bounds(
            model,
            images,
            samples=settings.samples,
            seed=settings.seed,
            first=len(bounds),
            at_once=settings.decoded_at_once,
            margin=subject.data.margin,
        )
    return torch.stack(bounds)
