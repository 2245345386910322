"""What is measured over a whole split; each example counts once, on however many devices.

A metric of which one image has no number is NaN. torchmetrics' own leave such an image out, or take it for class 0.
`lacks` are the places of the targets of which a split has too little to measure, as it was found last.
"""

from dataclasses import dataclass

import torch
from torch import Tensor
from torchmetrics import Metric
from torchmetrics.functional.classification import binary_average_precision, multilabel_average_precision
from torchmetrics.utilities import dim_zero_cat

# Burda et al. 2016, section 5.2: in squared latent units.
THRESHOLD = 0.01


def at_least_single(values: Tensor) -> Tensor:
    """Return values of half precision in single: confidences near 1 would be rounded to it."""
    return values.to(torch.promote_types(values.dtype, torch.float32))


class R2(Metric):
    """The coefficient of determination, averaged over the values; NaN where one of them never varies."""

    predicted: list[Tensor]
    wanted: list[Tensor]

    def __init__(self) -> None:
        super().__init__()
        self.lacks: list[int] = []
        # Sums of squares lose the variance of values that are far from 0.
        self.add_state("predicted", [], dist_reduce_fx="cat")
        self.add_state("wanted", [], dist_reduce_fx="cat")

    def update(self, preds: Tensor, target: Tensor) -> None:
        """Add a batch of values, (N,) of one and (N, T) of several. N may be 0."""
        self.predicted.append(preds)
        self.wanted.append(target)

    def compute(self) -> Tensor:
        predicted, wanted = (dim_zero_cat(each) for each in (self.predicted, self.wanted))
        if wanted.ndim == 1:
            predicted, wanted = predicted.unsqueeze(1), wanted.unsqueeze(1)
        each = errors(predicted.cpu().double(), wanted.cpu().double())["r2"]
        self.lacks = (wanted.amax(0) == wanted.amin(0)).nonzero().flatten().tolist()
        return each.mean().to(predicted)


def errors(predicted: Tensor, wanted: Tensor) -> dict[str, Tensor]:
    """Return mae, rmse and r2 of each value, (T,) each. predicted, wanted: (N, T). r2 is NaN where one never varies."""
    difference = predicted - wanted
    squared = difference.square().mean(0)
    constant = wanted.amax(0) == wanted.amin(0)
    r2 = (1 - squared / wanted.var(0, correction=0)).where(~constant, torch.nan)
    return {"mae": difference.abs().mean(0), "rmse": squared.sqrt(), "r2": r2}


class MeanAveragePrecision(Metric):
    """Average precision of each label, averaged over those that occur; NaN where none does, or a probability is."""

    probabilities: list[Tensor]
    labels: list[Tensor]

    def __init__(self, labels: int) -> None:
        super().__init__()
        self.count = labels
        self.lacks: list[int] = []
        self.add_state("probabilities", [], dist_reduce_fx="cat")
        self.add_state("labels", [], dist_reduce_fx="cat")

    def update(self, probabilities: Tensor, labels: Tensor) -> None:
        """Add a batch: probabilities (N, T), labels (N, T) int64 of 0 and 1. N may be 0."""
        self.probabilities.append(probabilities)
        self.labels.append(labels)

    def compute(self) -> Tensor:
        probabilities, labels = (dim_zero_cat(each) for each in (self.probabilities, self.labels))
        occurs = labels.any(0)
        self.lacks = (~occurs).nonzero().flatten().tolist()
        if not occurs.any() or probabilities.isnan().any():
            return probabilities.new_tensor(torch.nan)
        each = average_precisions(probabilities[:, occurs], labels[:, occurs])
        return each.mean()


def average_precisions(probabilities: Tensor, labels: Tensor) -> Tensor:
    """Return the average precision of each label that occurs, (T,). probabilities: (N, T), labels: (N, T) int64."""
    if labels.shape[1] == 1:  # torchmetrics' multilabel ones take two labels or more
        return binary_average_precision(probabilities[:, 0], labels[:, 0]).reshape(1)
    return multilabel_average_precision(probabilities, labels, labels.shape[1], average=None)


class LabelF1(Metric):
    """F1 of each label at a probability of .5, averaged over those that occur or are predicted; NaN where one is."""

    right: Tensor
    there: Tensor
    predicted: Tensor
    spoilt: Tensor

    def __init__(self, labels: int) -> None:
        super().__init__()
        for name in ("right", "there", "predicted"):
            self.add_state(name, torch.zeros(labels), dist_reduce_fx="sum")
        self.add_state("spoilt", torch.zeros(()), dist_reduce_fx="sum")

    def update(self, probabilities: Tensor, labels: Tensor) -> None:
        """Add a batch: probabilities (N, T), labels (N, T) int64 of 0 and 1."""
        predicted = probabilities > 0.5
        self.right += (predicted & labels.bool()).sum(0)
        self.there += labels.sum(0)
        self.predicted += predicted.sum(0)
        self.spoilt += probabilities.isnan().sum()

    def compute(self) -> Tensor:
        some = self.there + self.predicted > 0
        each = 2 * self.right[some] / (self.there + self.predicted)[some]
        return each.mean().where(self.spoilt == 0, torch.nan)


class ActiveUnits(Metric):
    """Count the latents whose posterior mean varies over the data by more than THRESHOLD (Burda et al. 2016)."""

    total: Tensor
    squares: Tensor
    count: Tensor

    def __init__(self, latent_dim: int) -> None:
        super().__init__()
        self.add_state("total", torch.zeros(latent_dim), dist_reduce_fx="sum")
        self.add_state("squares", torch.zeros(latent_dim), dist_reduce_fx="sum")
        self.add_state("count", torch.zeros(()), dist_reduce_fx="sum")

    def update(self, means: Tensor) -> None:
        """Add posterior means (N, latent_dim)."""
        self.total += means.sum(0)
        self.squares += means.square().sum(0)
        self.count += len(means)

    def compute(self) -> Tensor:
        """Return the count as a float scalar, as Lightning logs it."""
        variance = self.squares / self.count - (self.total / self.count).square()
        # NaN is above no threshold, and would count as a latent that is not used.
        return (variance > THRESHOLD).sum().float().where(~variance.isnan().any(), torch.nan)


class VAELoss(Metric):
    """What a VAE minimises once it is warmed up, in nats an example: distortion + beta x the rate that is paid for."""

    distortion: Tensor
    kl: Tensor
    count: Tensor

    def __init__(self, latent_dim: int, kl_weight: float, free_bits: float) -> None:
        super().__init__()
        self.kl_weight, self.free_bits = kl_weight, free_bits
        self.add_state("distortion", torch.zeros(()), dist_reduce_fx="sum")
        self.add_state("kl", torch.zeros(latent_dim), dist_reduce_fx="sum")
        self.add_state("count", torch.zeros(()), dist_reduce_fx="sum")

    def update(self, distortion: Tensor, kl: Tensor) -> None:
        """Add a batch: distortion (N,), kl (N, latent_dim)."""
        self.distortion += distortion.sum()
        self.kl += kl.sum(0)
        self.count += len(kl)

    def compute(self) -> Tensor:
        return self.distortion / self.count + self.kl_weight * (self.kl / self.count).clamp_min(self.free_bits).sum()


# The expected calibration error (Guo et al. 2017, eqs. 1 to 3), the same for training, `evaluate` and their pictures.
# torchmetrics puts a confidence of exactly 1 into a bin of its own (its issue 3510), which makes the error too large.
BINS = 15


def bin_sums(probabilities: Tensor, labels: Tensor) -> Tensor:
    """Sum over the predictions of each bin: how many, their confidence, how many right.

    probabilities: (N, classes) float; labels: (N,) int64. Bin b, from 0, holds confidences above b / BINS up to
    (b + 1) / BINS. Returns (3, BINS), of the probabilities' dtype; NaN in each bin where a probability is NaN.
    """
    confidence, predicted = probabilities.max(1)
    place = (confidence * BINS).ceil().long().sub(1).clamp(0, BINS - 1)
    inside = place.unsqueeze(1) == torch.arange(BINS, device=place.device)
    values = torch.stack([torch.ones_like(confidence), confidence, (predicted == labels).to(confidence.dtype)])
    # Not bincount, which has no deterministic way on a GPU.
    return (values.unsqueeze(2) * inside).sum(1)


def calibration_error(sums: Tensor) -> Tensor:
    """Return the ECE, a scalar, from what `bin_sums` gives, of all batches together."""
    count, confidence, right = sums
    return (confidence - right).abs().sum() / count.sum()


class CalibrationError(Metric):
    """The ECE over a whole split."""

    sums: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.add_state("sums", torch.zeros(3, BINS), dist_reduce_fx="sum")

    def update(self, probabilities: Tensor, labels: Tensor) -> None:
        """Add a batch: probabilities (N, classes), labels (N,) int64."""
        self.sums += bin_sums(probabilities, labels)

    def compute(self) -> Tensor:
        return calibration_error(self.sums)


@dataclass(frozen=True)
class Reliability:
    """Equal bins of confidence: mean confidence, accuracy and number of images of each; error: ECE."""

    confidence: list[float]
    accuracy: list[float]
    count: list[int]
    error: float


def reliability(logits: Tensor, labels: Tensor) -> Reliability:
    """Bin predictions by confidence (Guo et al. 2017, eqs. 1 to 3). logits: (N, classes), labels: (N,) int64."""
    sums = bin_sums(logits.double().softmax(1), labels)
    count = sums[0]
    means = sums[1:] / count.clamp_min(1)
    return Reliability(means[0].tolist(), means[1].tolist(), count.long().tolist(), calibration_error(sums).item())


def fit_temperature(logits: Tensor, labels: Tensor) -> float:
    """Return the temperature T > 0 that minimises the cross-entropy of logits / T (Guo et al. 2017, section 4.2).

    The mean of the logits under the softmax falls with T, so the slope in 1 / T has one root, found by bisection.
    Logits that separate the labels without error are best cold, and the search stops at T = .01; at most it gives 100.
    """
    logits = logits.double()
    chosen = logits.gather(1, labels.unsqueeze(1)).squeeze(1)

    def slope(inverse: float) -> float:
        expected = ((logits * inverse).softmax(1) * logits).sum(1)
        return (expected - chosen).mean().item()

    low, high = 0.01, 100.0
    for _ in range(60):
        middle = (low * high) ** 0.5
        low, high = (low, middle) if slope(middle) > 0 else (middle, high)
    return 1 / (low * high) ** 0.5
