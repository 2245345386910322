"""Principal components, the linear way to a code and back, within a memory that large images don't fit."""

from collections.abc import Iterable
from itertools import chain

import scipy.linalg
import torch
from sklearn.decomposition import IncrementalPCA
from torch import Tensor

# Of the features or of their covariance, at most so many numbers are held: 1 GB in float32, 2 in float64.
MOST_NUMBERS = 2**28
# Rows that the incremental fit takes at once, where the components are not more.
CHUNK = 250


class PCA:
    """Projection on principal components: mean (D,), components (D, K), the first one first."""

    def __init__(self, mean: Tensor, components: Tensor) -> None:
        self.mean, self.components = mean, components

    def __call__(self, features: Tensor) -> Tensor:
        return (features - self.mean) @ self.components

    def inverse(self, codes: Tensor) -> Tensor:
        return codes @ self.components.T + self.mean


def fit_pca(batches: Iterable[Tensor], count: int, components: int) -> tuple[PCA, str]:
    """Fit on batches (n, D) float32 of `count` rows. components: capped at D, and where D is large at `count`.

    Returns the projection, and a word for what is not exact about it, empty where nothing is.
    """
    batches = iter(batches)
    first = next(batches)
    batches, dims = chain([first], batches), first.shape[1]
    if max(count, dims) * dims <= MOST_NUMBERS:
        return _by_covariance(torch.cat(list(batches)), components), ""
    fitted = _by_batches(batches, min(components, count, dims))
    return fitted, (
        f"pca: fitted batch by batch (scikit-learn's IncrementalPCA), as {count} examples of {dims} numbers take too "
        "much memory at once."
    )


def _by_covariance(features: Tensor, components: int) -> PCA:
    """Fit on (N, D) by the eigenvectors of the covariance."""
    mean = features.mean(0)
    centred = (features - mean).double()
    covariance, dims = (centred.T @ centred / len(features)).numpy(), features.shape[1]
    _, vectors = scipy.linalg.eigh(covariance, subset_by_index=[max(0, dims - components), dims - 1])
    return PCA(mean, torch.from_numpy(vectors).flip(1).float())


def _by_batches(batches: Iterable[Tensor], components: int) -> PCA:
    fitted, chunk = IncrementalPCA(components), max(components, CHUNK)
    waiting: Tensor | None = None
    for batch in batches:
        waiting = batch if waiting is None else torch.cat([waiting, batch])
        # The last rows must not be fewer than the components.
        while len(waiting) >= 2 * chunk:
            fitted.partial_fit(waiting[:chunk].numpy())
            waiting = waiting[chunk:]
    assert waiting is not None
    fitted.partial_fit(waiting.numpy())
    return PCA(torch.from_numpy(fitted.mean_).float(), torch.from_numpy(fitted.components_.T.copy()).float())
