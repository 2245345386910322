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
    voters = labels[nearest(features, queries, max(neighbours))]  # (M, most), nearest first
    votes = torch.nn.functional.one_hot(voters, classes).cumsum(1)  # (M, most, classes)
    return {k: votes[:, min(k, votes.shape[1]) - 1].argmax(1) for k in neighbours}


def average(features: Tensor, targets: Tensor, queries: Tensor, neighbours: Sequence[int]) -> dict[int, Tensor]:
    """Predict the mean of the k nearest, for each k at once: features, queries and neighbours as `vote` takes them.

    targets: (N, T). Returns (M, T) float32 by k.
    """
    found = nearest(features, queries, max(neighbours))
    return {k: targets[found[:, :k]].mean(1) for k in neighbours}


def nearest(features: Tensor, queries: Tensor, most: int) -> Tensor:
    """Return the places of the nearest features (N, D) of each query (M, D), (M, most or N) int64, nearest first."""
    assert features.shape[1] == queries.shape[1], (features.shape, queries.shape)
    half_squares = features.square().sum(1) / 2
    found = []
    for chunk in queries.split(QUERIES_AT_A_TIME):
        # |a - b|^2 / 2 without the part that is the same for all of a query's neighbours.
        distance = torch.addmm(half_squares, chunk, features.T, alpha=-1)
        found.append(distance.topk(min(most, len(features)), dim=1, largest=False).indices)
    return torch.cat(found)
