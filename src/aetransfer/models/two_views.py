"""What learns from two views of each input by a projection of the encoder's features.

The loss never reaches the bottleneck: a transfer begins with a fresh one.
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from aetransfer.config.shapes import one_of
from aetransfer.data.augmented import Transform, view_of
from aetransfer.data.batches import Batch
from aetransfer.data.float_augmentation import told
from aetransfer.models.base import Pretext
from aetransfer.networks.encoder import Encoder


class TwoViews(Pretext):
    """An encoder and a projection of its features."""

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
