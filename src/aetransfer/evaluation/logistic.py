"""Multinomial logistic regression on standardised features, its penalty chosen on validation.

Minimised is the mean cross-entropy plus |W|^2 / (2 C N), scikit-learn's objective. Features of one network are nearly
collinear, and plain L-BFGS takes hundreds of passes over the data. The Hessian is bounded by S / 2 + I / (C N), S the
features' covariance (Boehning 1992, theorem 1); in coordinates that turn the bound into the identity, and from where
the last penalty's fit ended, some thirty passes do.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

MAX_ITERATIONS = 100
# Of the largest entry of the gradient, in the coordinates above.
TOLERANCE = 1e-4


@dataclass(frozen=True)
class FittedLogistic:
    """weight (classes, D), bias (classes,), inverse_penalty: scikit-learn's C."""

    weight: Tensor
    bias: Tensor
    inverse_penalty: float
    val_acc: float

    def predict(self, features: Tensor) -> Tensor:
        """Map standardised features (N, D) to classes (N,)."""
        return (features @ self.weight.T + self.bias).argmax(1)


def fit_logistic(
    train: tuple[Tensor, Tensor], val: tuple[Tensor, Tensor], *, classes: int, inverse_penalties: Sequence[float]
) -> FittedLogistic:
    """Fit for each C, from the strongest penalty on, and keep the best on validation, of equals the stronger penalty.

    train, val: standardised features (N, D) float32 and labels (N,) int64 in [0, classes).
    """
    features, labels = train
    values, directions = torch.linalg.eigh(features.T @ features / len(features))
    values = values.clamp_min(0)
    rotated = features @ directions
    weight, bias = torch.zeros(classes, len(values)), torch.zeros(classes)
    best: FittedLogistic | None = None
    for penalty in sorted(inverse_penalties):
        weight, bias = _minimised(rotated, labels, values, penalty, weight, bias)
        fitted = FittedLogistic(weight @ directions.T, bias, penalty, 0.0)
        acc = (fitted.predict(val[0]) == val[1]).double().mean().item()
        if best is None or acc > best.val_acc:
            best = FittedLogistic(fitted.weight, bias, penalty, acc)
    assert best is not None
    return best


def _minimised(
    features: Tensor, labels: Tensor, values: Tensor, inverse_penalty: float, weight: Tensor, bias: Tensor
) -> tuple[Tensor, Tensor]:
    """Go from `weight` (classes, D) and `bias` to the optimum. values: (D,) variances of the rotated features."""
    strength = 1 / (inverse_penalty * len(features))
    scale = (values / 2 + strength).rsqrt()
    scaled, moved = (weight / scale).requires_grad_(), bias.clone().requires_grad_()
    optimizer = torch.optim.LBFGS(
        [scaled, moved],
        max_iter=MAX_ITERATIONS,
        tolerance_grad=TOLERANCE,
        tolerance_change=1e-9,
        history_size=20,
        line_search_fn="strong_wolfe",
    )

    def objective() -> Tensor:
        optimizer.zero_grad()
        actual = scaled * scale
        loss = F.cross_entropy(torch.addmm(moved, features, actual.T), labels) + strength / 2 * actual.square().sum()
        loss.backward()
        return loss

    optimizer.step(objective)
    return (scaled * scale).detach(), moved.detach()
