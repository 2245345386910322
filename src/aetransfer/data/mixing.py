"""Examples mixed with others of their batch, and their targets with them: for tasks that say that they can.

An example's partner is another one of the whole batch, in an order that is drawn; so is each example's own share. So
any number of processes mixes the same.
"""

from abc import ABC, abstractmethod
from typing import ClassVar, NamedTuple

import torch
from scipy.special import betaincinv
from torch import Tensor

from aetransfer.config.nodes import PositiveFloat


class Mixed(NamedTuple):
    """What a batch was mixed with. targets (B, ...): those of the partners. share (B,) float32: of its own target."""

    targets: Tensor
    share: Tensor


class Mix(ABC):
    """How examples are mixed with their partners. numbers: how many it needs for each example. takes: as of an
    `aetransfer.data.augmentation.Augmentation`.
    """

    numbers: ClassVar[int]
    takes: ClassVar[tuple[str, ...] | None] = None

    @abstractmethod
    def __call__(self, inputs: Tensor, partners: Tensor, drawn: Tensor) -> tuple[Tensor, Tensor]:
        """Return the mixed inputs (B, *shape), and (B,) what of each example's target is still its own.

        inputs, partners: (B, *shape). drawn: (B, numbers) float32 on the CPU, uniform in [0, 1).
        """


class Mixup(Mix):
    """Weighted means of two examples (Zhang et al. 2018). alpha: the own weight is drawn from Beta(alpha, alpha)."""

    numbers = 1

    def __init__(self, alpha: PositiveFloat = 1.0) -> None:
        self.alpha = alpha

    def __call__(self, inputs: Tensor, partners: Tensor, drawn: Tensor) -> tuple[Tensor, Tensor]:
        share = beta(drawn[:, 0], self.alpha).to(inputs)
        weight = share.view(-1, *[1] * (inputs.ndim - 1))
        return weight * inputs + (1 - weight) * partners, share


class CutMix(Mix):
    """A rectangle of each image becomes its partner's (Yun et al. 2019); of a signal, a stretch.

    It has the image's ratio of sides, its middle is anywhere. alpha: the share that is left, before what of the
    rectangle is beyond the edges, is drawn from Beta(alpha, alpha).
    """

    numbers = 3
    takes: ClassVar = ("pixels", "images", "signals")

    def __init__(self, alpha: PositiveFloat = 1.0) -> None:
        self.alpha = alpha

    def __call__(self, inputs: Tensor, partners: Tensor, drawn: Tensor) -> tuple[Tensor, Tensor]:
        sides = inputs.shape[2:]
        half = ((1 - beta(drawn[:, 0], self.alpha)) ** (1 / len(sides))).unsqueeze(1) / 2
        along = [
            ((torch.arange(side) + 0.5) / side - drawn[:, place].unsqueeze(1)).abs() < half
            for place, side in enumerate(sides, 1)
        ]
        cut = along[0] if len(along) == 1 else along[0].unsqueeze(2) & along[1].unsqueeze(1)
        share = 1 - cut.float().flatten(1).mean(1)
        return torch.where(cut.unsqueeze(1).to(inputs.device), partners, inputs), share.to(inputs)


def beta(uniform: Tensor, alpha: float) -> Tensor:
    """Map uniform numbers in [0, 1) to numbers of Beta(alpha, alpha), by its inverse distribution function."""
    return torch.from_numpy(betaincinv(alpha, alpha, uniform.double().numpy())).float()


def partners_of(drawn: Tensor) -> Tensor:
    """Return the place of each example's partner, (B,) int64: the next one in the order of the numbers drawn (B,).

    In a batch of two or more none is its own.
    """
    order = drawn.argsort(stable=True)
    return torch.empty_like(order).scatter_(0, order, order.roll(-1))
