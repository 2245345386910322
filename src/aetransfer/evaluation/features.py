"""From an encoder's layers to feature vectors that a measure can take: flattened, pooled, standardised, projected."""

import math
from collections.abc import Callable, Iterable, Sequence
from itertools import chain

import torch
from torch import Tensor
from torch.nn import functional as F

from aetransfer.data.module import Labelled
from aetransfer.errors import UserError
from aetransfer.networks.encoder import Encoder

Extract = Callable[[Tensor], Tensor]


class NoNumbersError(UserError):
    """A model's outputs are NaN or infinite: neighbours, ranks and counts of these would look like those of numbers."""


def check_finite(outputs: Tensor) -> None:
    """Raise NoNumbersError where an input's outputs, a row of (N, ...), are not all finite."""
    good = outputs.isfinite().flatten(1).all(1)
    if not good.all():
        raise NoNumbersError(
            f"The model's outputs are NaN or infinite for {int((~good).sum())} of {len(good)} inputs: nothing can be "
            "measured of them."
        )


def pooled(maps: Tensor, max_features: int, input_shape: Sequence[int] = (1, 1, 1)) -> Tensor:
    """Flatten maps to (N, at most max_features), but no less than one average a channel.

    maps: of images (N, C, H, W) or (N, H, W, C), of signals (N, C, L). Too large ones are averaged over equal windows,
    those of signals over as many as fit; tokens of images (N, L, D) over all of them. Vectors (N, D) stay as they are.
    input_shape: of the encoder that they are of.
    """
    if maps.ndim == 2:
        return maps
    if maps.ndim == 3:
        if len(input_shape) != 2:
            return maps.mean(1)
        windows = max(1, max_features // maps.shape[1])
        return (F.adaptive_avg_pool1d(maps, windows) if maps.shape[2] > windows else maps).flatten(1)
    if _has_channels_last(maps, input_shape):
        maps = maps.movedim(3, 1)
    channels, *size = maps.shape[1:]
    sides = [side for side in range(1, min(size) + 1) if size[0] % side == size[1] % side == 0]
    fitting = [side for side in sides if channels * (size[0] // side) * (size[1] // side) <= max_features]
    return F.avg_pool2d(maps, min(fitting) if fitting else tuple(size)).flatten(1)


def _has_channels_last(maps: Tensor, input_shape: Sequence[int]) -> bool:
    """Tell (N, H, W, C) from (N, C, H, W): height to width is as in the encoder's images."""
    one, two, three = maps.shape[1:]
    wanted = math.log(input_shape[-2] / input_shape[-1])
    return abs(math.log(one / two) - wanted) < abs(math.log(two / three) - wanted)


def shrunk(inputs: Tensor, most: int) -> Tensor:
    """Average images (N, C, H, W) of more than `most` numbers to the largest of the same form that have no more.

    Signals (N, C, L) likewise, to fewer times; vectors stay as they are.
    """
    if inputs.ndim not in (3, 4) or inputs[0].numel() <= most:
        return inputs
    room = max(1, most // inputs.shape[1])
    if inputs.ndim == 3:
        return F.adaptive_avg_pool1d(inputs, room)
    height, width = inputs.shape[2:]
    return F.adaptive_avg_pool2d(
        inputs, (max(1, math.isqrt(room * height // width)), max(1, math.isqrt(room * width // height)))
    )


def layer(encoder: Encoder, name: str, max_features: int) -> Extract:
    """Return what maps inputs to one layer's features; see `Encoder.layer_outputs` for the names."""
    if name == "bottleneck":
        return encoder
    return lambda inputs: pooled(encoder.layer_outputs(inputs)[name], max_features, encoder.input_shape)


def fitted(inputs: Tensor, encoder: Encoder) -> Tensor:
    """Give an encoder the channels it takes: grey is repeated, colour averaged, which is what inflating undoes.

    Only images of pixels may have another number than it takes.
    """
    channels = encoder.input_shape[0]
    if inputs.shape[1] == channels:
        return inputs
    return inputs.mean(1, keepdim=True) if channels == 1 else inputs.expand(-1, channels, -1, -1)


@torch.no_grad()
def extracted(extract: Extract, batches: Iterable[Labelled]) -> tuple[Tensor, Tensor]:
    """Gather features (N, D) float32 and targets, as a Batch has them, of all batches, on the CPU.

    Raises NoNumbersError for features that are NaN or infinite.
    """
    features, targets = [], []
    for inputs, each in batches:
        features.append(extract(inputs).float().cpu())
        targets.append(each.cpu())
    gathered = torch.cat(features)
    check_finite(gathered)
    return gathered, torch.cat(targets)


class Scale:
    """Standardise features by the mean and deviation of the training ones; a constant one becomes zero."""

    def __init__(self, features: Tensor) -> None:
        self.deviation, self.mean = torch.std_mean(features, dim=0, correction=0)
        self.deviation[self.deviation <= 1e-6 * self.deviation.max()] = torch.inf

    def __call__(self, features: Tensor) -> Tensor:
        return (features - self.mean) / self.deviation


# Principal components, the linear way to a code and back, within a memory that large images don't fit.

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
    import scipy.linalg

    mean = features.mean(0)
    centred = (features - mean).double()
    covariance, dims = (centred.T @ centred / len(features)).numpy(), features.shape[1]
    _, vectors = scipy.linalg.eigh(covariance, subset_by_index=[max(0, dims - components), dims - 1])
    return PCA(mean, torch.from_numpy(vectors).flip(1).float())


def _by_batches(batches: Iterable[Tensor], components: int) -> PCA:
    from sklearn.decomposition import IncrementalPCA

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
