"""A VAE in nats: where they go (rate, distortion, units), how tight the bound is, and how well codes fit the prior."""

import math
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from aetransfer.config.nodes import PositiveInt, Seed
from aetransfer.config.shapes import a
from aetransfer.data.draws import step_generator
from aetransfer.evaluation.features import check_finite
from aetransfer.evaluation.measure import Measure, Subject
from aetransfer.evaluation.outcome import Outcome
from aetransfer.evaluation.pictures import unit_bars
from aetransfer.models.capabilities import HasPosterior
from aetransfer.models.metrics import THRESHOLD
from aetransfer.models.variational import divergence, weigh

CODES_AT_A_TIME = 1000
CPU = torch.device("cpu")
BATCH = 250


@dataclass(frozen=True)
class Surgery:
    """The rate taken apart, in nats an image.

    marginal_kl_error: standard error of the mean over codes, for both terms alike where N is large. moments_kl: the KL
    of the Gaussian with the mean and covariance of q(z), exact, and the least that any q(z) with these can have.
    """

    mutual_information: float
    marginal_kl: float
    marginal_kl_error: float
    moments_kl: float
    most_information: float


def surgery(mean: Tensor, log_variance: Tensor, generator: torch.Generator) -> Surgery:
    """Take the rate apart: what codes say about their image, and how far all codes together are from the prior.

    mean_n KL(q(z | x_n) || p(z)) = I_q(n; z) + KL(q(z) || p(z)),   q(z) = 1/N sum_n q(z | x_n)

    Hoffman & Johnson 2016, "ELBO surgery", section 2. Both are estimated with one code an image, z_n ~ q(z | x_n), and
    q(z_n) by the mean over all N posteriors, so q(z) is that of these N images exactly. I_q cannot exceed log N.
    mean, log_variance: (N, D) of q(z | x_n). Done in float64, N^2 D operations.
    """
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


@torch.no_grad()
def image_bounds(
    model: HasPosterior, images: Tensor, *, samples: int, seed: int, first: int, at_once: int, margin: int = 0
) -> Iterator[Tensor]:
    """Yield for each image (-ELBO, importance-weighted NLL, variance of the -ELBO of one code), from the same codes.

    -log p(x) <= -E log 1/k sum_i w_i,   w_i = p(x | z_i) p(z_i) / q(z_i | x),   z_i ~ q(z | x)

    Burda et al. 2016, eq. 8: from above, the tighter the larger k, in nats. k = 1 gives the negative ELBO, and where q
    is the true posterior every k gives -log p(x). images: inputs (N, *shape) of any kind, on the model's device.
    samples: codes an image; of a single one the variance is NaN. first: the number of the first of them; what is drawn
    for an image, its binarisation and its codes, follows from seed and number alone, whatever device or chunk it is in.
    at_once: images decoded at a time. margin: pixels of padding on each side.
    """
    latent_dim = model.posterior(images[:1])[0].shape[1]
    group = max(1, at_once // samples)
    for start in range(0, len(images), group):
        part = images[start : start + group]
        generators = [step_generator("importance", seed, first + start + place, CPU) for place in range(len(part))]
        pairs = zip(part.cpu().split(1), generators, strict=True)
        observed = torch.cat([model.observe(image, generator) for image, generator in pairs]).to(images.device)
        noise = torch.stack([torch.randn(samples, latent_dim, generator=generator) for generator in generators])
        chunks = [
            weigh(model, observed, chunk.to(images.device), margin).log_weights
            for chunk in noise.split(max(1, at_once // len(part)), dim=1)
        ]
        weights = torch.cat(chunks, 1).cpu().double()
        spread = weights.var(1) if samples > 1 else torch.full_like(weights[:, 0], torch.nan)
        yield from torch.stack([-weights.mean(1), math.log(samples) - weights.logsumexp(1), spread], 1)


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
