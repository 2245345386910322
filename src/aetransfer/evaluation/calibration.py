"""Whether a classifier is as sure as it is right: calibration error, and the temperature that mends it."""

from dataclasses import dataclass

from torch import Tensor
from torch.nn import functional as F

from aetransfer.models.calibration import bin_sums, calibration_error


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


def mean_nll(logits: Tensor, labels: Tensor) -> float:
    return F.cross_entropy(logits.double(), labels).item()
