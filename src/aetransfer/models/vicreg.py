"""VICReg (Bardes et al. 2022): two views of an input are to be alike, numbers to vary, and no two of them together."""

from collections.abc import Mapping, Sequence
from typing import ClassVar

import torch
from torch import Tensor
from torch.nn import functional as F

from aetransfer.config.nodes import NonNegativeFloat, PositiveInt
from aetransfer.data.augmented import Transform
from aetransfer.data.batches import Batch
from aetransfer.models.base import Outputs
from aetransfer.models.contrastive import TwoViews
from aetransfer.models.facts import Quantity
from aetransfer.models.processes import whole_batch
from aetransfer.networks.encoder import Encoder

# Of the deviation, for its gradient at 0 (the paper's section 4.1).
EPSILON = 1e-4


class VICReg(TwoViews):
    """The weighted sum of three terms, each over the whole batch."""

    title = "VICReg encoder"
    metrics: ClassVar[Mapping[str, Quantity]] = {
        "vicreg": Quantity("weighted sum of invariance, variance and covariance, of one batch size"),
        "invariance": Quantity("mean squared difference of two views"),
        "variance": Quantity("how far deviations fall short of 1"),
        "covariance": Quantity("sum of squared covariances of two numbers, over their count"),
    }

    def __init__(
        self,
        encoder: Encoder,
        views: Sequence[Transform],
        *,
        invariance: NonNegativeFloat = 25.0,
        variance: NonNegativeFloat = 25.0,
        covariance: NonNegativeFloat = 1.0,
        hidden: PositiveInt = 512,
        projection: PositiveInt = 128,
    ) -> None:
        """invariance, variance, covariance: weights of the terms. The rest: see `TwoViews`."""
        super().__init__(encoder, views, hidden, projection)
        self.weights = invariance, variance, covariance

    def step(self, batch: Batch) -> Outputs:
        first, second = (whole_batch(views, batch.share) for views in self.projected(batch).chunk(2))
        terms = vicreg(first, second)
        loss = sum((weight * term for weight, term in zip(self.weights, terms, strict=True)), first.new_zeros(()))
        return {"loss": loss, "vicreg": loss, **dict(zip(("invariance", "variance", "covariance"), terms, strict=True))}

    def caveats(self) -> list[str]:
        return ["VICReg is computed over a whole batch: compare runs of equal batch size only."]


def vicreg(first: Tensor, second: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Return invariance, variance and covariance of two views' projections (N, D): three scalars.

    The paper's eqs. 1 to 5; variance and covariance are the mean, and the sum, of both views'. 0 for a single input.
    """
    invariance = F.mse_loss(first, second)
    if len(first) < 2:
        return invariance, invariance.new_zeros(()), invariance.new_zeros(())
    centred = [views - views.mean(0) for views in (first, second)]
    covariances = [each.T @ each / (len(each) - 1) for each in centred]
    short = [F.relu(1 - (each.diagonal() + EPSILON).sqrt()).mean() for each in covariances]
    together = [(each.square().sum() - each.diagonal().square().sum()) / len(each) for each in covariances]
    return invariance, torch.stack(short).mean(), torch.stack(together).sum()
