"""What is measured over a whole split; each example counts once, on however many devices.

A metric of which one image has no number is NaN. torchmetrics' own leave such an image out, or take it for class 0.
"""

import torch
from torch import Tensor
from torchmetrics import Metric
from torchmetrics.classification import MulticlassF1Score

# Burda et al. 2016, section 5.2: in squared latent units.
THRESHOLD = 0.01


class Mean(Metric):
    """The mean over examples."""

    total: Tensor
    count: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.add_state("total", torch.zeros(()), dist_reduce_fx="sum")
        self.add_state("count", torch.zeros(()), dist_reduce_fx="sum")

    def update(self, values: Tensor) -> None:
        """Add a batch (N,), one value an example. N may be 0."""
        self.total += values.to(self.total.dtype).sum()
        self.count += len(values)

    def compute(self) -> Tensor:
        return self.total / self.count


class MacroF1(MulticlassF1Score):
    """The mean F1 of the classes that have images or are predicted; NaN where a probability is."""

    spoilt: Tensor

    def __init__(self, classes: int) -> None:
        super().__init__(classes, average="macro")
        self.add_state("spoilt", torch.zeros(()), dist_reduce_fx="sum")

    def update(self, probabilities: Tensor, labels: Tensor) -> None:
        """Add a batch: probabilities (N, classes), labels (N,) int64."""
        self.spoilt += probabilities.isnan().sum()
        super().update(probabilities, labels)

    def compute(self) -> Tensor:
        return super().compute().where(self.spoilt == 0, torch.nan)


class ActiveUnits(Metric):
    """Count the latents whose posterior mean varies over the data by more than THRESHOLD (Burda et al. 2016)."""

    total: Tensor
    squares: Tensor
    count: Tensor

    def __init__(self, latent_dim: int) -> None:
        super().__init__()
        self.add_state("total", torch.zeros(latent_dim), dist_reduce_fx="sum")
        self.add_state("squares", torch.zeros(latent_dim), dist_reduce_fx="sum")
        self.add_state("count", torch.zeros(()), dist_reduce_fx="sum")

    def update(self, means: Tensor) -> None:
        """Add posterior means (N, latent_dim)."""
        self.total += means.sum(0)
        self.squares += means.square().sum(0)
        self.count += len(means)

    def compute(self) -> Tensor:
        """Return the count as a float scalar, as Lightning logs it."""
        variance = self.squares / self.count - (self.total / self.count).square()
        # NaN is above no threshold, and would count as a latent that is not used.
        return (variance > THRESHOLD).sum().float().where(~variance.isnan().any(), torch.nan)


class VAELoss(Metric):
    """What a VAE minimises once it is warmed up, in nats an example: distortion + beta x the rate that is paid for."""

    distortion: Tensor
    kl: Tensor
    count: Tensor

    def __init__(self, latent_dim: int, kl_weight: float, free_bits: float) -> None:
        super().__init__()
        self.kl_weight, self.free_bits = kl_weight, free_bits
        self.add_state("distortion", torch.zeros(()), dist_reduce_fx="sum")
        self.add_state("kl", torch.zeros(latent_dim), dist_reduce_fx="sum")
        self.add_state("count", torch.zeros(()), dist_reduce_fx="sum")

    def update(self, distortion: Tensor, kl: Tensor) -> None:
        """Add a batch: distortion (N,), kl (N, latent_dim)."""
        self.distortion += distortion.sum()
        self.kl += kl.sum(0)
        self.count += len(kl)

    def compute(self) -> Tensor:
        return self.distortion / self.count + self.kl_weight * (self.kl / self.count).clamp_min(self.free_bits).sum()
