"""SimCLR (Chen et al. 2020): two views of an input are to be more alike than views of different ones.

`TwoViews` is what it shares with others that learn from two views of each input.
"""

from collections.abc import Mapping, Sequence
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from aetransfer.config.nodes import PositiveFloat, PositiveInt
from aetransfer.config.shapes import noun_of, one_of
from aetransfer.data.augmented import Transform, view_of
from aetransfer.data.batches import Batch
from aetransfer.data.draws import Share
from aetransfer.data.float_augmentation import told
from aetransfer.models.base import Outputs, Pretext
from aetransfer.models.facts import Quantity
from aetransfer.models.processes import whole_batch
from aetransfer.networks.encoder import Encoder


class TwoViews(Pretext):
    """An encoder and a projection of its features. A loss never reaches the bottleneck: a transfer starts afresh."""

    untrained = ("bottleneck",)

    def __init__(self, encoder: Encoder, views: Sequence[Transform], hidden: int, projection: int) -> None:
        """views: what makes a view of an input. hidden, projection: widths of the projection."""
        super().__init__(encoder)
        self.projection = nn.Sequential(
            nn.Linear(encoder.num_features, hidden), nn.ReLU(), nn.Linear(hidden, projection)
        )
        self.views = list(views)

    @property
    def summary(self) -> str:
        return f"An encoder that learnt to tell views of one {one_of(self.encoder.input_shape)} from views of others"

    def projected(self, batch: Batch) -> Tensor:
        """Return the projections of two views of each input, the first ones before the second: (2 B, projection)."""
        assert batch.draws is not None
        told(self.views, self.encoder.normalise.mean, self.encoder.normalise.deviation)
        views = torch.cat([view_of(batch.inputs, self.views, batch.draws) for _ in range(2)])
        projected: Tensor = self.projection(self.encoder.features(views))
        return projected


class Contrastive(TwoViews):
    """The NT-Xent loss."""

    title = "contrastive encoder"
    metrics: ClassVar[Mapping[str, Quantity]] = {
        "nt_xent": Quantity("NT-Xent, nats a view; larger in larger batches"),
        "matched": Quantity("share of views whose partner is the most similar view of the batch", "higher"),
    }

    def __init__(
        self,
        encoder: Encoder,
        views: Sequence[Transform],
        *,
        temperature: PositiveFloat = 0.2,
        hidden: PositiveInt = 512,
        projection: PositiveInt = 128,
    ) -> None:
        super().__init__(encoder, views, hidden, projection)
        self.temperature = temperature

    def step(self, batch: Batch) -> Outputs:
        first, second = F.normalize(self.projected(batch), dim=1).chunk(2)
        loss, matched = nt_xent(first, second, self.temperature, batch.share)
        return {"loss": loss, "nt_xent": loss, "matched": matched}

    def caveats(self) -> list[str]:
        noun = noun_of(self.encoder.input_shape)
        return [f"NT-Xent compares the {noun} of a batch: compare runs of equal batch size only."]


def nt_xent(first: Tensor, second: Tensor, temperature: float, share: Share) -> tuple[Tensor, Tensor]:
    """Return the loss of each input, the mean over its two views, and the share of the two that found their partner.

    -log exp(s(i, j) / t) / sum over k != i of exp(s(i, k) / t) of view i with partner j, s being the cosine similarity
    (Chen et al. 2020, eq. 1). first, second: the views of this process's inputs, (B, D) of length 1; they are compared
    with all views of the batch. Returns two (B,).
    """
    others = torch.cat([whole_batch(views, share) for views in (first, second)])
    places = torch.arange(share.whole, device=first.device)[share.rows]
    losses, found = [], []
    for views, own, partner in ((first, places, places + share.whole), (second, places + share.whole, places)):
        logits = (views @ others.T / temperature).scatter(1, own.unsqueeze(1), -torch.inf)
        losses.append(F.cross_entropy(logits, partner, reduction="none"))
        found.append((logits.argmax(1) == partner).float())
    return torch.stack(losses).mean(0), torch.stack(found).mean(0)
