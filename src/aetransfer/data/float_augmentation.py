"""Random changes of inputs that are no pixels: signals, vectors, images of floats.

Noise and factors are in units of a channel's deviation (of a vector: a feature's) over the training data, and what is
hidden becomes its mean. So no channel's unit decides, and an encoder that standardises sees the same change of each.
"""

import math
from abc import abstractmethod
from collections.abc import Sequence
from typing import ClassVar

import torch
from torch import Tensor

from aetransfer.config.nodes import NonNegativeFloat, PositiveFloat
from aetransfer.data.augmentation import Augmentation


class Standardised(Augmentation):
    """What has to know the data's statistics, which `told` sets: mean and deviation of a channel, (C, 1, ...) each."""

    mean: Tensor | None = None
    deviation: Tensor | None = None

    def __call__(self, inputs: Tensor, drawn: Tensor) -> Tensor:
        assert self.mean is not None and self.deviation is not None, "nobody told the data's statistics"
        return self.changed(inputs, drawn, self.mean.to(inputs), self.deviation.to(inputs))

    @abstractmethod
    def changed(self, inputs: Tensor, drawn: Tensor, mean: Tensor, deviation: Tensor) -> Tensor:
        """Return the changed inputs (B, *shape). mean, deviation: (C, 1, ...), on the inputs' device."""


def told(transforms: Sequence[object], mean: Tensor, deviation: Tensor) -> None:
    """Let transforms know the statistics of the training data, (C, 1, ...) each."""
    for transform in transforms:
        if isinstance(transform, Standardised):
            transform.mean, transform.deviation = mean, deviation


class Jitter(Standardised):
    """Normal noise on every value. sigma: its deviation, in units of the channel's."""

    numbers = 2
    takes: ClassVar = ("images", "signals", "vectors")

    def __init__(self, sigma: NonNegativeFloat = 0.1) -> None:
        self.sigma = sigma

    def changed(self, inputs: Tensor, drawn: Tensor, mean: Tensor, deviation: Tensor) -> Tensor:
        return inputs + self.sigma * deviation * normal(drawn, inputs.shape[1:], inputs)


class Scale(Standardised):
    """A factor for each channel of an example, about the channel's mean: from N(1, sigma^2) (Um et al. 2017)."""

    numbers = 2
    takes: ClassVar = ("images", "signals")

    def __init__(self, sigma: NonNegativeFloat = 0.1) -> None:
        self.sigma = sigma

    def changed(self, inputs: Tensor, drawn: Tensor, mean: Tensor, deviation: Tensor) -> Tensor:
        one_a_channel = (inputs.shape[1], *(1 for _ in inputs.shape[2:]))
        return inputs + self.sigma * normal(drawn, one_a_channel, inputs) * (inputs - mean)


class SignalCrop(Augmentation):
    """A stretch of the signal, anywhere in it, resampled linearly to the signal's length.

    smallest: its length, of the signal's.
    """

    numbers = 2
    takes: ClassVar = ("signals",)

    def __init__(self, smallest: PositiveFloat = 0.5) -> None:
        if smallest > 1:
            raise ValueError(f"smallest={smallest:g} is a share of the signal's length, up to 1: lower it")
        self.smallest = smallest

    def __call__(self, inputs: Tensor, drawn: Tensor) -> Tensor:
        length = inputs.shape[2]
        share = self.smallest + (1 - self.smallest) * drawn[:, :1]
        places = drawn[:, 1:] * (1 - share) * (length - 1) + share * torch.arange(length)
        before = places.long().clamp_max(length - 2).clamp_min(0)
        weight = (places - before).to(inputs).unsqueeze(1)
        before = before.to(inputs.device).unsqueeze(1).expand_as(inputs)
        after = (before + 1).clamp_max(length - 1)
        return torch.lerp(inputs.gather(2, before), inputs.gather(2, after), weight)


class Mask(Standardised):
    """A stretch of the signal becomes the mean, in all channels. smallest, largest: its length, of the signal's."""

    numbers = 2
    takes: ClassVar = ("signals",)

    def __init__(self, smallest: NonNegativeFloat = 0.0, largest: PositiveFloat = 0.3) -> None:
        if not smallest <= largest <= 1:
            raise ValueError(
                f"smallest={smallest:g} and largest={largest:g} are shares of the length, the first not above"
            )
        self.smallest, self.largest = smallest, largest

    def changed(self, inputs: Tensor, drawn: Tensor, mean: Tensor, deviation: Tensor) -> Tensor:
        length = inputs.shape[2]
        long = (self.smallest + (self.largest - self.smallest) * drawn[:, :1]) * length
        start = drawn[:, 1:] * (length - long)
        # Samples whose middle is within.
        middle = torch.arange(length) + 0.5
        hidden = (middle >= start) & (middle < start + long)
        return torch.where(hidden.unsqueeze(1).to(inputs.device), mean, inputs)


class MaskFeatures(Standardised):
    """Each feature of a vector becomes its mean with probability `share`."""

    numbers = 2
    takes: ClassVar = ("vectors",)

    def __init__(self, share: NonNegativeFloat = 0.3) -> None:
        if share > 1:
            raise ValueError(f"share={share:g} is a probability, up to 1: lower it")
        self.share = share

    def changed(self, inputs: Tensor, drawn: Tensor, mean: Tensor, deviation: Tensor) -> Tensor:
        return torch.where(uniform(drawn, inputs.shape[1:], inputs) < self.share, mean, inputs)


def normal(drawn: Tensor, shape: Sequence[int], like: Tensor) -> Tensor:
    """Return standard normal numbers (B, *shape), as `uniform` does."""
    return math.sqrt(2) * torch.erfinv(2 * uniform(drawn, shape, like) - 1)


def uniform(drawn: Tensor, shape: Sequence[int], like: Tensor) -> Tensor:
    """Return numbers in (0, 1), (B, *shape), each example's a function of its own two numbers alone.

    They are a hash of these and of the value's place: the same on any device, and whoever is beside it in the batch.
    drawn: (B, 2) on the CPU, uniform in [0, 1). like: of which device and dtype they are.
    """
    seeds = (drawn.double() * 2**32).long().to(like.device)
    places = torch.arange(math.prod(shape), device=like.device)
    bits = _hashed(_hashed(seeds[:, :1]) + places)
    bits = _hashed(bits ^ _hashed(seeds[:, 1:] + 1))
    # 23 bits and a half: neither 0 nor 1 in single precision.
    return (((bits >> 9).double() + 0.5) / 2**23).to(like.dtype).view(len(drawn), *shape)


def _hashed(values: Tensor) -> Tensor:
    """Mix 32 bits, held in int64 (the finaliser of MurmurHash3)."""
    kept = 2**32 - 1
    values = values & kept
    values = ((values ^ (values >> 16)) * 0x85EBCA6B) & kept
    values = ((values ^ (values >> 13)) * 0xC2B2AE35) & kept
    return values ^ (values >> 16)
