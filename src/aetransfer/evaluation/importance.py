"""Importance-weighted likelihood of a VAE (Burda et al. 2016, eq. 8): -log p(x) from above, the tighter the larger k.

    -log p(x) <= -E log 1/k sum_i w_i,   w_i = p(x | z_i) p(z_i) / q(z_i | x),   z_i ~ q(z | x)

Nats an image. Of one image k = 1 gives the negative ELBO, and where q is the true posterior every k gives -log p(x).
"""

import math
from collections.abc import Iterator

import torch
from torch import Tensor

from aetransfer.data.draws import step_generator
from aetransfer.models.capabilities import HasPosterior
from aetransfer.models.variational import weigh

CPU = torch.device("cpu")


@torch.no_grad()
def image_bounds(
    model: HasPosterior, images: Tensor, *, samples: int, seed: int, first: int, at_once: int, margin: int = 0
) -> Iterator[Tensor]:
    """Yield for each image (-ELBO, importance-weighted NLL, variance of the -ELBO of one code), from the same codes.

    images: inputs (N, *shape) of any kind, on the model's device. samples: codes an image; of a single one the variance
    is NaN.
    first: the number of the first of them; what is drawn for an image, its binarisation and its codes, follows from
    seed and number alone, whatever device or chunk it is in. at_once: images decoded at a time. margin: pixels of
    padding on each side.
    """
    latent_dim = model.posterior(images[:1])[0].shape[1]
    group = max(1, at_once // samples)
    for start in range(0, len(images), group):
        part = images[start : start + group]
        generators = [step_generator("importance", seed, first + start + place, CPU) for place in range(len(part))]
        observed = torch.cat(
            [
                model.observe(image.cpu().unsqueeze(0), generator)
                for image, generator in zip(part, generators, strict=True)
            ]
        ).to(images.device)
        noise = torch.stack([torch.randn(samples, latent_dim, generator=generator) for generator in generators])
        chunks = [
            weigh(model, observed, chunk.to(images.device), margin).log_weights
            for chunk in noise.split(max(1, at_once // len(part)), dim=1)
        ]
        weights = torch.cat(chunks, 1).cpu().double()
        spread = weights.var(1) if samples > 1 else torch.full_like(weights[:, 0], torch.nan)
        yield from torch.stack([-weights.mean(1), math.log(samples) - weights.logsumexp(1), spread], 1)
