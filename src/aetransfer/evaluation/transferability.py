"""How well features should serve a task, without one being trained: LogME and, of classes, the H-score."""

import math

import numpy as np
import torch
from sklearn.covariance import ledoit_wolf
from torch import Tensor

MAX_ITERATIONS = 100


def logme(features: Tensor, targets: Tensor) -> float:
    """Return the log evidence an example and target of linear regressions onto targets (You et al. 2021).

    Prior and noise precision, alpha and beta, maximise each target's evidence by MacKay's fixed point (alg. 1).
    features: (N, D), targets: (N, T): one-hot classes, labels of 0 and 1, or values. Nats; larger is better.
    """
    targets = targets.double()
    left, singular, _ = torch.linalg.svd(features.double(), full_matrices=False)
    projected = (left.T @ targets).square()  # (R, T)
    outside = targets.square().sum(0) - projected.sum(0)  # what no weights can reach
    evidence = [
        _evidence(projected[:, target], outside[target].clamp_min(0).item(), singular.square(), *features.shape)
        for target in range(targets.shape[1])
    ]
    return sum(evidence) / len(evidence)


def _evidence(projected: Tensor, outside: float, spectrum: Tensor, count: int, dims: int) -> float:
    """Maximise the evidence of one regression, given its targets' squared projections on the singular directions."""
    alpha = beta = 1.0
    for _ in range(MAX_ITERATIONS):
        ratio = alpha / beta
        effective = (spectrum / (spectrum + ratio)).sum().item()
        weights = (spectrum * projected / (spectrum + ratio).square()).sum().item()
        error = (projected * (ratio / (spectrum + ratio)).square()).sum().item() + outside
        alpha, beta = max(effective, 1e-12) / max(weights, 1e-12), (count - effective) / max(error, 1e-12)
        if abs(alpha / beta - ratio) <= 1e-5 * ratio:
            break
    ratio = alpha / beta
    weights = (spectrum * projected / (spectrum + ratio).square()).sum().item()
    error = (projected * (ratio / (spectrum + ratio)).square()).sum().item() + outside
    determinant = (alpha + beta * spectrum).log().sum().item() + (dims - len(spectrum)) * math.log(alpha)
    total = dims * math.log(alpha) + count * math.log(beta / (2 * math.pi)) - beta * error - alpha * weights
    return (total - determinant) / 2 / count


def h_score(features: Tensor, labels: Tensor) -> float:
    """Return tr(cov(f)^+ cov(E[f | y])) (Bao et al. 2019, definition 2): at most the number of classes less one.

    features: (N, D), labels: (N,) int64. Larger is better. Where N is not many times D the score is inflated.
    """
    centred = features.double() - features.double().mean(0)
    covariance = centred.T @ centred / len(centred)
    between = _between(centred, labels)
    return (torch.linalg.pinv(covariance, hermitian=True, rtol=1e-6) @ between).trace().item()


def shrunk_h_score(features: Tensor, labels: Tensor) -> float:
    """Return the H-score with the covariance shrunk as in Ledoit & Wolf 2004 (Ibrahim et al. 2022).

    With the covariance S shrunk to (1 - a) S + a tr(S) / D I: the trace of its inverse times (1 - a) cov(E[f | y]).
    What few images inflate is taken back.
    """
    centred = (features.double() - features.double().mean(0)).numpy()
    covariance, amount = ledoit_wolf(centred, assume_centered=True)
    between = _between(torch.from_numpy(centred), labels).numpy()
    return float((1 - amount) * np.trace(np.linalg.lstsq(covariance, between, rcond=None)[0]))


def _between(centred: Tensor, labels: Tensor) -> Tensor:
    """Return the covariance of the class means that stand in for each example, (D, D)."""
    means = torch.zeros_like(centred)
    for label in labels.unique():
        means[labels == label] = centred[labels == label].mean(0)
    return means.T @ means / len(means)


def effective_rank(features: Tensor) -> float:
    """Return exp of the entropy of the normalised singular values of centred features (Roy & Vetterli 2007).

    features: (N, D). 1 for features on a line; min(N - 1, D) where no direction is preferred; 0 for constant ones.
    """
    singular = torch.linalg.svdvals(features.double() - features.double().mean(0))
    if singular.sum() == 0:
        return 0.0
    share = singular / singular.sum()
    return torch.special.entr(share).sum().exp().item()
