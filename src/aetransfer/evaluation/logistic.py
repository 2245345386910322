"""Logistic regression on standardised features, its penalty chosen on validation: of one class of several, or of each
of many labels against the rest.

Minimised is the mean cross-entropy plus |W|^2 / (2 C N), scikit-learn's objective; of many labels the sum of theirs.
Features of one network are nearly collinear, and plain L-BFGS takes hundreds of passes over the data. The Hessian is
bounded by S / 2 + I / (C N), S the features' covariance (Boehning 1992, theorem 1; a label's by less, S / 4). In
coordinates that turn the bound into the identity (W L, of its Cholesky factor L), and from where the last penalty's fit
ended, some thirty passes do.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor
from torch.nn import functional as F

MAX_ITERATIONS = 100
# Of the largest entry of the gradient, in the coordinates above.
TOLERANCE = 1e-4
# What is added to the diagonal of the bound at least, lest rounding makes that of dependent features indefinite. It
# slows the fit a little, and moves no optimum.
RIDGE = 1e-4
CHUNK = 1000


@dataclass(frozen=True)
class FittedLogistic:
    """weight (classes, D), bias (classes,), inverse_penalty: scikit-learn's C."""

    weight: Tensor
    bias: Tensor
    inverse_penalty: float
    val_score: float = math.nan

    def predict(self, features: Tensor) -> Tensor:
        """Map standardised features (N, D) to classes (N,)."""
        return (features @ self.weight.T + self.bias).argmax(1)

    def probabilities(self, features: Tensor) -> Tensor:
        """Map standardised features (N, D) to the probability of each label, (N, labels) float64."""
        return (features @ self.weight.T + self.bias).double().sigmoid()


def fit_logistic(
    train: tuple[Tensor, Tensor],
    val: tuple[Tensor, Tensor],
    *,
    classes: int,
    inverse_penalties: Sequence[float],
    score: Callable[[Tensor, Tensor], float],
) -> FittedLogistic:
    """Fit for each C, from the strongest penalty on, and keep the best on validation, of equals the stronger penalty.

    train, val: standardised features (N, D) float32 and labels, (N,) int64 in [0, classes) or (N, classes) float32 of 0
    and 1. score: of what is predicted, classes (N,) or probabilities, and labels.
    """
    features, labels = train
    spread = _covariance(features)
    weight, bias = torch.zeros(classes, features.shape[1]), torch.zeros(classes)
    best: FittedLogistic | None = None
    for penalty in sorted(inverse_penalties):
        weight, bias = _minimised(features, labels, spread, penalty, weight, bias)
        fitted = FittedLogistic(weight, bias, penalty)
        predicted = fitted.predict(val[0]) if labels.ndim == 1 else fitted.probabilities(val[0])
        val_score = score(predicted, val[1])
        if best is None or val_score > best.val_score:
            best = replace(fitted, val_score=val_score)
    assert best is not None
    return best


def _covariance(features: Tensor) -> Tensor:
    """Return the covariance (D, D), float64, of standardised features (N, D)."""
    total = torch.zeros(features.shape[1], features.shape[1], dtype=torch.float64)
    for chunk in features.split(CHUNK):
        # A sum in float32 over all images would lose the small eigenvalues.
        total += chunk.T @ chunk
    return total / len(features)


def _minimised(
    features: Tensor, labels: Tensor, spread: Tensor, inverse_penalty: float, weight: Tensor, bias: Tensor
) -> tuple[Tensor, Tensor]:
    """Go from `weight` (classes, D) and `bias` to the optimum. spread: the covariance (D, D) of features (N, D)."""
    strength = 1 / (inverse_penalty * len(features))
    bound = spread / 2
    bound.diagonal().add_(max(strength, RIDGE))
    factor = torch.linalg.cholesky(bound).float()
    moved, moved_bias = (weight @ factor).requires_grad_(), bias.clone().requires_grad_()
    optimizer = torch.optim.LBFGS(
        [moved, moved_bias],
        max_iter=MAX_ITERATIONS,
        tolerance_grad=TOLERANCE,
        tolerance_change=1e-9,
        history_size=20,
        line_search_fn="strong_wolfe",
    )

    def actual() -> Tensor:
        # Its result lies column by column, and the product with the features would be ten times slower.
        return torch.linalg.solve_triangular(factor, moved, upper=False, left=False).contiguous()

    def objective() -> Tensor:
        optimizer.zero_grad()
        weight = actual()
        logits = torch.addmm(moved_bias, features, weight.T)
        if labels.ndim == 1:
            loss = F.cross_entropy(logits, labels)
        else:
            loss = F.binary_cross_entropy_with_logits(logits, labels, reduction="none").sum(1).mean()
        loss = loss + strength / 2 * weight.square().sum()
        loss.backward()
        return loss

    optimizer.step(objective)
    return actual().detach(), moved_bias.detach()
