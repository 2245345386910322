"""A process's share of a batch, and the random numbers of a batch: the same on any number of processes.

What is drawn is a function of the run's seed and of the batch's place in training, not of what was drawn before. So a
resume draws the same again, and any step can be had again.
"""

import random
from collections.abc import Callable
from functools import cached_property
from typing import Literal, NamedTuple, get_args

import numpy as np
import torch
from torch import Generator, Tensor

# What is drawn for; a stream's place among them is part of its seeds.
Stream = Literal[
    "order", "train", "val", "test", "sample", "control", "importance", "measure", "views", "augment", "library"
]


def mixed_seed(stream: Stream, seed: int, step: int) -> int:
    """Make one seed of what is drawn for, the run's seed, and how far it has come.

    They are spread over 32 bits, all that torch's CPU generator uses of a seed (splitmix64's odd constants).
    """
    high, low = divmod((get_args(Stream).index(stream) << 44) + (seed << 20) + step, 2**32)
    return (low * 0x9E3779B97F4A7C15 ^ high * 0xBF58476D1CE4E5B9) % 2**32


def seed_all(seed: int) -> None:
    """Seed the generators that somebody's loaders and transforms may draw from."""
    torch.manual_seed(seed)
    np.random.seed(seed)
    random.seed(seed)


class Share(NamedTuple):
    """What one process has of a batch of `whole` images: every `world_size`-th, from `rank` on.

    No process goes without a forward pass, for the others would wait for it: where there are fewer images than
    processes, the last ones get the batch's first image as well, and it does not count.

    weight: what the batch's loss counts in its optimiser step, see `Shares.in_step`.
    """

    whole: int
    rank: int = 0
    world_size: int = 1
    weight: float = 1.0

    @property
    def counted(self) -> int:
        """Images here that count; 0 for a process whose only image does not."""
        return len(range(self.rank, self.whole, self.world_size))

    @property
    def rows(self) -> slice:
        """The places of this process's images within the batch."""
        return slice(self.rank, None, self.world_size) if self.counted else slice(0, 1)

    def mean(self, values: Tensor) -> Tensor:
        """Return what this process adds to a mean over the batch: the processes' average is that mean.

        values: (B, ...), one for each image here. Returns (...).
        """
        return values[: self.counted].sum(0) * (self.world_size / self.whole)

    def weighted(self, loss: Tensor) -> Tensor:
        """Return what training minimises, of the batch's mean loss."""
        return loss if self.weight == 1 else loss * self.weight

    def of_whole(self, images: Tensor) -> Tensor:
        """Put images (B, ...) in their places within the batch, (whole, ...); what others have is zero here.

        What is drawn for the whole batch is then the same whatever the number of processes.
        """
        if self.world_size == 1:
            return images
        whole = images.new_zeros((self.whole, *images.shape[1:]))
        whole[self.rows] = images
        return whole

    def part(self, whole: Tensor) -> Tensor:
        """Return what belongs to this process's images of (whole, ...)."""
        return whole if self.world_size == 1 else whole[self.rows]


def step_generator(stream: Stream, seed: int, step: int, device: torch.device) -> Generator:
    """Return a generator on `device` for one step: the number of its batch, which training counts on over epochs."""
    return Generator(device).manual_seed(mixed_seed(stream, seed, step))


class Draws:
    """Random numbers for the examples of one batch, drawn for the whole batch, of which a process keeps its part."""

    def __init__(self, stream: Stream, seed: int, step: int, share: Share, device: torch.device) -> None:
        self.stream, self.seed, self.step, self.share, self.device = stream, seed, step, share, device

    @cached_property
    def generator(self) -> Generator:
        """Draws on the batch's device: fast, and other numbers on another kind of device."""
        return step_generator(self.stream, self.seed, self.step, self.device)

    @cached_property
    def on_cpu(self) -> Generator:
        """Draws on the CPU, the same numbers whatever the device: for augmentation, a few numbers an example."""
        return step_generator("views", self.seed, self.step, torch.device("cpu"))

    def normal_like(self, values: Tensor) -> Tensor:
        """Return standard normal noise of the shape of values (B, ...)."""
        return self._drawn(torch.randn, values)

    def uniform_like(self, values: Tensor) -> Tensor:
        """Return numbers from [0, 1) of the shape of values (B, ...)."""
        return self._drawn(torch.rand, values)

    def _drawn(self, draw: Callable[..., Tensor], values: Tensor) -> Tensor:
        shape = (self.share.whole, *values.shape[1:])
        return self.share.part(draw(shape, generator=self.generator, device=values.device, dtype=values.dtype))
