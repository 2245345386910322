"""A small multilayer perceptron on standardised features, its epoch chosen on validation."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from aetransfer.networks.head import Head

BATCH_SIZE = 256
LEARNING_RATE = 1e-3
WEIGHT_DECAY = 1e-2


@dataclass(frozen=True)
class FittedPerceptron:
    head: Head
    epoch: int
    val_acc: float

    @torch.no_grad()
    def predict(self, features: Tensor) -> Tensor:
        """Map standardised features (N, D) to classes (N,)."""
        return self.head(features).argmax(1)


def fit_perceptron(
    train: tuple[Tensor, Tensor],
    val: tuple[Tensor, Tensor],
    *,
    classes: int,
    hidden: Sequence[int],
    epochs: int,
    seed: int,
) -> FittedPerceptron:
    """Train with AdamW and keep the first of the epochs with the best validation accuracy. Global random state stays.

    train, val: standardised features (N, D) float32 and labels (N,) int64.
    """
    features, labels = train
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        head = Head(features.shape[1], classes, hidden)
        optimizer = torch.optim.AdamW(head.parameters(), lr=LEARNING_RATE, weight_decay=WEIGHT_DECAY)
        best: FittedPerceptron | None = None
        for epoch in range(1, epochs + 1):
            for rows in torch.randperm(len(features)).split(BATCH_SIZE):
                optimizer.zero_grad()
                F.cross_entropy(head(features[rows]), labels[rows]).backward()
                optimizer.step()
            acc = (FittedPerceptron(head, epoch, 0.0).predict(val[0]) == val[1]).float().mean().item()
            if best is None or acc > best.val_acc:
                kept = Head(features.shape[1], classes, hidden)
                kept.load_state_dict(head.state_dict())
                best = FittedPerceptron(kept, epoch, acc)
    assert best is not None
    return best
