"""The Frechet distance between two sets of feature vectors, as if both were Gaussian (Heusel et al. 2017)."""

import torch
from torch import Tensor


def frechet_distance(one: Tensor, other: Tensor) -> float:
    """Return |m1 - m2|^2 + tr(C1 + C2 - 2 (C1 C2)^1/2) of features (N, D) and (M, D), N, M >= 2, in float64.

    The trace of the root is the sum of the roots of the eigenvalues of C1^1/2 C2 C1^1/2, which is symmetric.
    """
    (mean, covariance), (other_mean, other_covariance) = _moments(one), _moments(other)
    values, vectors = torch.linalg.eigh(covariance)
    root = vectors * values.clamp_min(0).sqrt() @ vectors.T
    shared = torch.linalg.eigvalsh(root @ other_covariance @ root).clamp_min(0).sqrt().sum()
    traces = covariance.trace() + other_covariance.trace()
    return ((mean - other_mean).square().sum() + traces - 2 * shared).clamp_min(0).item()


def _moments(features: Tensor) -> tuple[Tensor, Tensor]:
    assert len(features) >= 2, features.shape
    features = features.cpu().double()
    return features.mean(0), torch.cov(features.T).reshape(features.shape[1], -1)
