"""Nearest neighbours by Euclidean distance: what a feature space says without anything being fitted to it."""

from collections.abc import Sequence

import torch
from torch import Tensor

# Rows of distances held at a time: 512 x 54,000 float32 are 110 MB.
QUERIES_AT_A_TIME = 512


def vote(
    features: Tensor, labels: Tensor, queries: Tensor, neighbours: Sequence[int], classes: int
) -> dict[int, Tensor]:
    """Predict by the majority of the k nearest, for each k at once; a tie goes to the lower class.

    features: (N, D) float32, labels: (N,) int64 in [0, classes), queries: (M, D). neighbours: the ks; one above N
    counts as N. Returns (M,) int64 predictions by k.
    """
    assert features.shape[1] == queries.shape[1], (features.shape, queries.shape)
    most = min(max(neighbours), len(features))
    half_squares = features.square().sum(1) / 2
    nearest = []
    for chunk in queries.split(QUERIES_AT_A_TIME):
        # |a - b|^2 / 2 without the part that is the same for all of a query's neighbours.
        distance = torch.addmm(half_squares, chunk, features.T, alpha=-1)
        nearest.append(labels[distance.topk(most, dim=1, largest=False).indices])
    voters = torch.cat(nearest)  # (M, most), nearest first
    votes = torch.nn.functional.one_hot(voters, classes).cumsum(1)  # (M, most, classes)
    return {k: votes[:, min(k, most) - 1].argmax(1) for k in neighbours}
