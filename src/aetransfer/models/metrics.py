"""What is measured over a whole split, one bundle a model; each image counts once, on however many devices."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torchmetrics import MeanMetric, Metric
from torchmetrics.classification import MulticlassAccuracy, MulticlassCalibrationError, MulticlassF1Score

# Burda et al. 2016, section 5.2: in squared latent units.
THRESHOLD = 0.01
# Equal bins of confidence, as in Guo et al. 2017.
CALIBRATION_BINS = 15


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
        return (variance > THRESHOLD).sum().float()


class VAELoss(Metric):
    """What a VAE minimises once it is warmed up, in nats an image: distortion + beta x the rate that is paid for."""

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


class ElboMetrics(nn.Module):
    """A VAE's terms in nats an image, its active units, and its loss where that is not the negative ELBO."""

    def __init__(self, latent_dim: int, kl_weight: float = 1.0, free_bits: float = 0.0) -> None:
        super().__init__()
        self.neg_elbo, self.distortion, self.rate = MeanMetric(), MeanMetric(), MeanMetric()
        self.active_units = ActiveUnits(latent_dim)
        self.loss = VAELoss(latent_dim, kl_weight, free_bits) if kl_weight != 1 or free_bits != 0 else None

    def update(self, distortion: Tensor, kl: Tensor, mean: Tensor) -> None:
        """Add a batch: distortion (N,), kl (N, latent_dim), posterior means (N, latent_dim)."""
        rate = kl.sum(1)
        self.neg_elbo.update(distortion + rate)
        self.distortion.update(distortion)
        self.rate.update(rate)
        self.active_units.update(mean)
        if self.loss is not None:
            self.loss.update(distortion, kl)

    def named(self, part: str) -> dict[str, Metric]:
        names = ["neg_elbo", "distortion", "rate", "active_units", *(["loss"] if self.loss is not None else [])]
        return {f"{part}/{name}": getattr(self, name) for name in names}


class ClassifierMetrics(nn.Module):
    """Accuracy, macro F1, negative log-likelihood in nats, expected calibration error."""

    def __init__(self, classes: int) -> None:
        super().__init__()
        self.acc = MulticlassAccuracy(classes, average="micro")
        self.f1 = MulticlassF1Score(classes, average="macro")
        self.nll = MeanMetric()
        self.ece = MulticlassCalibrationError(classes, n_bins=CALIBRATION_BINS)

    def update(self, logits: Tensor, labels: Tensor) -> None:
        """Add a batch: logits (N, classes), labels (N,) int64. N may be 0, for a process without any image."""
        if len(labels) == 0:
            return
        probabilities = logits.softmax(1)
        for metric in (self.acc, self.f1, self.ece):
            metric.update(probabilities, labels)
        self.nll.update(F.cross_entropy(logits, labels, reduction="none"))

    def named(self, part: str) -> dict[str, Metric]:
        return {f"{part}/{name}": getattr(self, name) for name in ("acc", "f1", "nll", "ece")}
