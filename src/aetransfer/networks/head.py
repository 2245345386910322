"""What reads a code: fully connected ReLU layers to the numbers that a task needs, such as class logits."""

from collections.abc import Sequence
from itertools import pairwise

from torch import Tensor, nn

from aetransfer.networks.decoder import he_


class Head(nn.Module):
    """Codes (N, in_features) to (N, outputs). Without hidden layers it is a linear probe."""

    def __init__(self, in_features: int, outputs: int, hidden: Sequence[int] = (64,)) -> None:
        super().__init__()
        self.layers = nn.Sequential()
        dims = [in_features, *hidden]
        for wide, narrow in pairwise(dims):
            self.layers.extend([nn.Linear(wide, narrow), nn.ReLU()])
        self.layers.append(nn.Linear(dims[-1], outputs))
        he_(self)

    def forward(self, codes: Tensor) -> Tensor:
        return self.layers(codes)
