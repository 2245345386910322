"""How many latents a VAE uses."""

import torch
from torch import Tensor
from torchmetrics import Metric

# Burda et al. 2016, section 5.2: in squared latent units.
THRESHOLD = 0.01


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
        return (variance > THRESHOLD).sum().float()
