"""What reads a code: fully connected ReLU layers to the numbers that a task needs, such as class logits."""

from collections.abc import Sequence

from torch import Tensor, nn

from aetransfer.networks.decoder import dense, he_


class Head(nn.Module):
    """Codes (N, in_features) to (N, outputs). Without hidden layers it is a linear probe."""

    def __init__(self, in_features: int, outputs: int, hidden: Sequence[int] = (64,)) -> None:
        super().__init__()
        dims = [in_features, *hidden]
        self.layers = dense(dims)
        self.layers.append(nn.Linear(dims[-1], outputs))
        he_(self)

    def forward(self, codes: Tensor) -> Tensor:
        return self.layers(codes)
