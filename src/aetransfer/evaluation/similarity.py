"""Linear CKA between layers of two networks, by the minibatch estimator that a random batch's size does not bias.

Nguyen et al. 2021, "Do wide and deep networks learn the same things?", eqs. 2 and 3, with the unbiased HSIC_1 of Song
et al. 2012, eq. 5.
"""

from collections.abc import Mapping

import torch
from torch import Tensor


def hsic1(one: Tensor, other: Tensor) -> Tensor:
    """Estimate HSIC without bias from two Gram matrices (n, n) of the same n >= 4 examples."""
    n = len(one)
    assert n >= 4 and one.shape == other.shape == (n, n), (one.shape, other.shape)
    one, other = one.clone().fill_diagonal_(0), other.clone().fill_diagonal_(0)
    trace = (one * other).sum()
    product = one.sum() * other.sum() / ((n - 1) * (n - 2))
    cross = (one.sum(0) * other.sum(0)).sum() * 2 / (n - 2)
    return (trace + product - cross) / (n * (n - 3))


class MinibatchCKA:
    """Collects HSIC_1 over batches for every pair of layers of two networks."""

    def __init__(self) -> None:
        self.names: tuple[list[str], list[str]] = ([], [])
        self._cross: list[Tensor] = []
        self._own: tuple[list[Tensor], list[Tensor]] = ([], [])

    def update(self, one: Mapping[str, Tensor], other: Mapping[str, Tensor]) -> None:
        """Add a random batch of at least 4 examples: layers' outputs (n, ...) of both networks by name."""
        self.names = (list(one), list(other))
        grams = [[_gram(output) for output in side.values()] for side in (one, other)]
        for place in (0, 1):
            self._own[place].append(torch.stack([hsic1(gram, gram) for gram in grams[place]]))
        self._cross.append(torch.stack([torch.stack([hsic1(left, right) for right in grams[1]]) for left in grams[0]]))

    def compute(self) -> Tensor:
        """Return CKA (layers of the one, layers of the other); about 0 to 1, and below 0 by chance where unrelated.

        NaN for a layer whose outputs are the same for all examples.
        """
        own = [torch.stack(values).mean(0).clamp_min(0).sqrt() for values in self._own]
        scale = own[0].unsqueeze(1) * own[1]
        return (torch.stack(self._cross).mean(0) / scale).where(scale > 0, torch.nan)


def _gram(outputs: Tensor) -> Tensor:
    flat = outputs.flatten(1).cpu().double()
    # HSIC doesn't see a shift, but rounding does.
    flat = flat - flat.mean(0)
    return flat @ flat.T
