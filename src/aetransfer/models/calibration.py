"""The expected calibration error (Guo et al. 2017, eqs. 1 to 3), the same for training, `evaluate` and their pictures.

torchmetrics puts a confidence of exactly 1 into a bin of its own (its issue 3510), and where a classifier is surest
that makes the error too large.
"""

import torch
from torch import Tensor
from torchmetrics import Metric

# Equal bins of confidence, as in Guo et al. 2017.
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
