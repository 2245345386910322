"""The small models that probes are: nearest neighbours, ridge and logistic regression, a multilayer perceptron.

All but the neighbours take standardised features; what is to be chosen is chosen by its score on validation.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor
from torch.nn import functional as F

from aetransfer.models.metrics import average_precisions
from aetransfer.networks.head import Head

Split = tuple[Tensor, Tensor]  # features (N, D) float32, targets as a Batch has them
Score = Callable[[Tensor, Tensor], float]  # of predictions and targets; more is better


def accuracy(predicted: Tensor, labels: Tensor) -> float:
    return (predicted == labels).double().mean().item()


def mean_average_precision(scores: Tensor, labels: Tensor) -> float:
    """Return the mean over the labels that occur, -infinity where none does. scores in [0, 1], labels: (N, T)."""
    occurs = labels.any(0)
    if not occurs.any():
        return -torch.inf
    return average_precisions(scores[:, occurs], labels[:, occurs].long()).mean().item()


def closeness(trained: Tensor) -> Score:
    """Return a score of values: their mean absolute error in deviations of the training ones, less than nothing."""
    deviation = trained.std(0, correction=0)
    # One that never varies in training says nothing about a fit.
    unit = deviation.where(deviation > 0, torch.inf)
    return lambda predicted, wanted: -((predicted - wanted).abs() / unit).mean().item()


# Nearest neighbours by Euclidean distance: what a feature space says without anything being fitted to it.

# Rows of distances held at a time: 512 x 54,000 float32 are 110 MB.
QUERIES_AT_A_TIME = 512


def vote(
    features: Tensor, labels: Tensor, queries: Tensor, neighbours: Sequence[int], classes: int
) -> dict[int, Tensor]:
    """Predict by the majority of the k nearest, for each k at once; a tie goes to the lower class.

    features: (N, D) float32, labels: (N,) int64 in [0, classes), queries: (M, D). neighbours: the ks; one above N
    counts as N. Returns (M,) int64 predictions by k.
    """
    voters = labels[nearest(features, queries, max(neighbours))]  # (M, most), nearest first
    votes = torch.nn.functional.one_hot(voters, classes).cumsum(1)  # (M, most, classes)
    return {k: votes[:, min(k, votes.shape[1]) - 1].argmax(1) for k in neighbours}


def average(features: Tensor, targets: Tensor, queries: Tensor, neighbours: Sequence[int]) -> dict[int, Tensor]:
    """Predict the mean of the k nearest, for each k at once: features, queries and neighbours as `vote` takes them.

    targets: (N, T). Returns (M, T) float32 by k.
    """
    found = nearest(features, queries, max(neighbours))
    return {k: targets[found[:, :k]].mean(1) for k in neighbours}


def nearest(features: Tensor, queries: Tensor, most: int) -> Tensor:
    """Return the places of the nearest features (N, D) of each query (M, D), (M, most or N) int64, nearest first."""
    assert features.shape[1] == queries.shape[1], (features.shape, queries.shape)
    half_squares = features.square().sum(1) / 2
    found = []
    for chunk in queries.split(QUERIES_AT_A_TIME):
        # |a - b|^2 / 2 without the part that is the same for all of a query's neighbours.
        distance = torch.addmm(half_squares, chunk, features.T, alpha=-1)
        found.append(distance.topk(min(most, len(features)), dim=1, largest=False).indices)
    return torch.cat(found)


# Ridge regression on standardised features, its penalty chosen on validation.
#
# Minimised is |Y - X W|^2 + alpha |W|^2, scikit-learn's objective. One eigendecomposition, of X'X or, where there are
# fewer examples than features, of XX', serves all penalties.

CHUNK = 1000


def fit_ridge(
    train: Split, val: Split, *, penalties: Sequence[float], score: Score
) -> tuple[Callable[[Tensor], Tensor], float]:
    """Fit for each penalty and keep the best on validation, of equals the stronger one.

    Returns what maps standardised features (N, D) to values (N, T), and its penalty, scikit-learn's alpha.
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

    def prediction(penalty: float) -> Callable[[Tensor], Tensor]:
        weight = vectors @ (projected / (spectrum.clamp_min(0) + penalty).unsqueeze(1))
        weight = rows.T @ weight if dual else weight
        return lambda features: (features.double() @ weight + bias).float()

    fits = [(prediction(penalty), penalty) for penalty in sorted(penalties, reverse=True)]
    return max(fits, key=lambda fit: score(fit[0](val[0]), val[1]))


def _product(features: Tensor, others: Tensor) -> Tensor:
    """Return X'Y of (N, D) and (N, E), float64: nearly collinear features lose their small eigenvalues in float32."""
    chunks = zip(features.split(CHUNK), others.split(CHUNK), strict=True)
    return sum((one.double().T @ other.double() for one, other in chunks), start=torch.zeros(()))


# Logistic regression on standardised features, its penalty chosen on validation: of one class of several, or of each
# of many labels against the rest.
#
# Minimised is the mean cross-entropy plus |W|^2 / (2 C N), scikit-learn's objective; of many labels the sum of theirs.
# Features of one network are nearly collinear, and plain L-BFGS takes hundreds of passes over the data. The Hessian is
# bounded by S / 2 + I / (C N), S the features' covariance (Boehning 1992, theorem 1; a label's by less, S / 4). In
# coordinates that turn the bound into the identity (W L, of its Cholesky factor L), and from where the last
# penalty's fit ended, some thirty passes do.

MAX_ITERATIONS = 100
# Of the largest entry of the gradient, in the coordinates above.
TOLERANCE = 1e-4
# What is added to the diagonal of the bound at least, lest rounding makes that of dependent features indefinite. It
# slows the fit a little, and moves no optimum.
RIDGE = 1e-4


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
    train: Split,
    val: Split,
    *,
    classes: int,
    inverse_penalties: Sequence[float],
    score: Score,
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


BATCH_SIZE = 256
LEARNING_RATE = 1e-3
WEIGHT_DECAY = 1e-2


@dataclass(frozen=True)
class FittedPerceptron:
    head: Head
    epoch: int
    val_acc: float

    @torch.no_grad()
    def predict(self, features: Tensor) -> Tensor:
        """Map standardised features (N, D) to classes (N,)."""
        return self.head(features).argmax(1)


def fit_perceptron(
    train: Split,
    val: Split,
    *,
    classes: int,
    hidden: Sequence[int],
    epochs: int,
    seed: int,
) -> FittedPerceptron:
    """Train with AdamW and keep the first of the epochs with the best validation accuracy. Global random state stays.

    train, val: standardised features (N, D) float32 and labels (N,) int64.
    """
    features, labels = train
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        head = Head(features.shape[1], classes, hidden)
        optimizer = torch.optim.AdamW(head.parameters(), lr=LEARNING_RATE, weight_decay=WEIGHT_DECAY)
        best: FittedPerceptron | None = None
        for epoch in range(1, epochs + 1):
            for rows in torch.randperm(len(features)).split(BATCH_SIZE):
                optimizer.zero_grad()
                F.cross_entropy(head(features[rows]), labels[rows]).backward()
                optimizer.step()
            acc = (FittedPerceptron(head, epoch, 0.0).predict(val[0]) == val[1]).float().mean().item()
            if best is None or acc > best.val_acc:
                kept = Head(features.shape[1], classes, hidden)
                kept.load_state_dict(head.state_dict())
                best = FittedPerceptron(kept, epoch, acc)
    assert best is not None
    return best
