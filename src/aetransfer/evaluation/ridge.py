"""Ridge regression on standardised features, its penalty chosen on validation.

Minimised is |Y - X W|^2 + alpha |W|^2, scikit-learn's objective. One eigendecomposition, of X'X or, where there are
fewer examples than features, of XX', serves all penalties.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

CHUNK = 1000


@dataclass(frozen=True)
class FittedRidge:
    """weight (D, T) and bias (T,), float64. penalty: scikit-learn's alpha."""

    weight: Tensor
    bias: Tensor
    penalty: float

    def predict(self, features: Tensor) -> Tensor:
        """Map standardised features (N, D) to values (N, T)."""
        return (features.double() @ self.weight + self.bias).float()


def fit_ridge(
    train: tuple[Tensor, Tensor],
    val: tuple[Tensor, Tensor],
    *,
    penalties: Sequence[float],
    score: Callable[[Tensor, Tensor], float],
) -> FittedRidge:
    """Fit for each penalty and keep the best on validation, of equals the stronger one.

    train, val: standardised features (N, D) float32 and values (N, T). score: of predictions and values, more
    is better.
    """
    features, bias = train[0], train[1].double().mean(0)
    values = train[1].double() - bias
    dual = len(features) < features.shape[1]
    if dual:
        rows = features.double()
        spectrum, vectors = torch.linalg.eigh(rows @ rows.T)
        projected = vectors.T @ values
    else:
        spectrum, vectors = torch.linalg.eigh(_product(features, features))
        projected = vectors.T @ _product(features, values)
    fits = []
    for penalty in sorted(penalties, reverse=True):
        weight = vectors @ (projected / (spectrum.clamp_min(0) + penalty).unsqueeze(1))
        fits.append(FittedRidge(rows.T @ weight if dual else weight, bias, penalty))
    return max(fits, key=lambda fitted: score(fitted.predict(val[0]), val[1]))


def _product(features: Tensor, others: Tensor) -> Tensor:
    """Return X'Y of (N, D) and (N, E), float64: nearly collinear features lose their small eigenvalues in float32."""
    chunks = zip(features.split(CHUNK), others.split(CHUNK), strict=True)
    return sum((one.double().T @ other.double() for one, other in chunks), start=torch.zeros(()))
