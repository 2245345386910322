"""From uint8 images to augmented float batches: the hot path, without per-image Python.

What an epoch draws (order, crop offsets, flips) is a pure function of seed and epoch, made at once for the whole
epoch on the CPU. So batches don't depend on the device or on whether they stream, and any batch of any epoch can be
had again.

A random crop of a padded image is a window; `Tensor.unfold` gives all windows of all images as one view, from which
one indexing call picks a window per image.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F
from torch.utils.data import DataLoader, Dataset

from aetransfer.data.images import to_channels
from aetransfer.data.seeds import mixed_seed

Batch = tuple[Tensor, Tensor]  # (B, C, H, W) float32 in [0, 1]; (B,) int64


@dataclass(frozen=True)
class Augment:
    """Random crop after zero padding by `crop_padding` pixels, and horizontal flip with probability 1/2."""

    crop_padding: int = 0
    flip: bool = False


@dataclass(frozen=True)
class Preparation:
    """What happens to every image alike: conversion to `channels`, zero padding by `pad` pixels."""

    channels: int
    pad: int

    def __call__(self, images: Tensor, extra_pad: int = 0) -> Tensor:
        """Map (N, 1 or 3, H, W) uint8 to (N, channels, H + 2 pad, W + 2 pad) uint8."""
        margin = self.pad + extra_pad
        converted = to_channels(images, self.channels)
        return F.pad(converted, (margin,) * 4) if margin else converted


@dataclass(frozen=True)
class Plan:
    """What one epoch does: rows (N,) in order and, where it augments, each one's crop (N, 2) and flip (N,)."""

    rows: Tensor
    crop: Tensor | None
    flip: Tensor | None

    def batch(self, number: int, size: int) -> "Plan":
        part = slice(number * size, (number + 1) * size)
        return Plan(
            self.rows[part],
            None if self.crop is None else self.crop[part],
            None if self.flip is None else self.flip[part],
        )

    def to(self, device: torch.device) -> "Plan":
        if device.type == "cpu":
            return self
        return Plan(
            self.rows.to(device, non_blocking=True),
            None if self.crop is None else self.crop.to(device, non_blocking=True),
            None if self.flip is None else self.flip.to(device, non_blocking=True),
        )


@dataclass(frozen=True)
class Epochs:
    """Which of `count` images one of `world_size` processes sees in an epoch, and what is drawn for them.

    Training: shuffled and augmented, the same number for every process (the last ones begin again at the front of the
    order where that is no multiple); `epoch_images` makes an epoch longer or shorter than the data. Evaluation (shuffle
    false): each image exactly once, in order, untouched.
    """

    count: int
    shuffle: bool
    augment: Augment
    seed: int
    rank: int = 0
    world_size: int = 1
    epoch_images: int | None = None

    @property
    def shown(self) -> int:
        """Images that one training epoch shows, over all processes."""
        return self.epoch_images or self.count

    def __len__(self) -> int:
        if self.shuffle:
            return -(-self.shown // self.world_size)
        return len(range(self.rank, self.count, self.world_size))

    def plan(self, epoch: int) -> Plan:
        if not self.shuffle:
            return Plan(torch.arange(self.count)[self.rank :: self.world_size], None, None)
        generator = torch.Generator().manual_seed(mixed_seed("order", self.seed, epoch))
        shuffles = -(-self.shown // self.count)
        rows = torch.cat([torch.randperm(self.count, generator=generator) for _ in range(shuffles)])[: self.shown]
        crop = torch.randint(2 * self.augment.crop_padding + 1, (self.shown, 2), generator=generator)
        flip = torch.rand(self.shown, generator=generator) < 0.5
        share = torch.arange(self.rank, len(self) * self.world_size, self.world_size) % self.shown
        return Plan(
            rows[share],
            crop[share] if self.augment.crop_padding else None,
            flip[share] if self.augment.flip else None,
        )


def take(padded: Tensor, chosen: Plan, size: int) -> Tensor:
    """Cut each chosen row's window out of padded images and flip it.

    padded: (N, C, H, W) uint8, padded by the crop padding. Returns (B, C, size, size) float32 in [0, 1].
    """
    if chosen.crop is None:
        windows = padded[chosen.rows]
    else:
        views = padded.unfold(2, size, 1).unfold(3, size, 1)  # (N, C, offsets, offsets, size, size), no copy
        windows = views[chosen.rows, :, chosen.crop[:, 0], chosen.crop[:, 1]]
    assert windows.shape[1:] == (padded.shape[1], size, size), (windows.shape, size)
    if chosen.flip is not None:
        flipped = chosen.flip.nonzero().squeeze(1)
        windows[flipped] = windows[flipped].flip(3)
    return windows.float().div_(255)


def _from_the_start() -> int:
    return 0


class ResidentBatches:
    """Batches gathered from images that lie, padded, on the training device."""

    def __init__(
        self,
        images: Tensor,
        labels: Tensor,
        *,
        prepare: Preparation,
        epochs: Epochs,
        epoch: Callable[[], int],
        batch_size: int,
        device: torch.device,
        first: Callable[[], int] = _from_the_start,
    ) -> None:
        """images: (N, C, H, W) uint8; labels: (N,) int64.

        At the start of an epoch `epoch` is asked which it is, and `first` with which batch it goes on.
        """
        assert epochs.count == len(images) == len(labels), (epochs.count, len(images), len(labels))
        self.size = images.shape[-1] + 2 * prepare.pad
        self.padded = prepare(images, epochs.augment.crop_padding).contiguous().to(device)
        self.labels = labels.to(device)
        self.epochs, self.epoch, self.batch_size, self.device = epochs, epoch, batch_size, device
        self.first = first

    def __len__(self) -> int:
        return -(-len(self.epochs) // self.batch_size)

    def __iter__(self) -> Iterator[Batch]:
        plan = self.epochs.plan(self.epoch())
        for number in range(self.first(), len(self)):
            chosen = plan.batch(number, self.batch_size).to(self.device)
            yield take(self.padded, chosen, self.size), self.labels[chosen.rows]


class StreamedBatches:
    """The same batches for images that don't fit: worker processes read rows, the training device pads and cuts."""

    def __init__(
        self,
        images: Tensor,
        labels: Tensor,
        *,
        positions: Tensor,
        prepare: Preparation,
        epochs: Epochs,
        epoch: Callable[[], int],
        batch_size: int,
        device: torch.device,
        workers: int,
        first: Callable[[], int] = _from_the_start,
    ) -> None:
        """As ResidentBatches, but `images` is memory-mapped and only its rows at `positions` (N,) int64 are used."""
        assert epochs.count == len(positions), (epochs.count, len(positions))
        self.images, self.labels, self.positions, self.prepare = images, labels, positions, prepare
        self.size = images.shape[-1] + 2 * prepare.pad
        self.epochs, self.epoch, self.batch_size, self.device = epochs, epoch, batch_size, device
        self.workers, self.first = workers, first

    def __len__(self) -> int:
        return -(-len(self.epochs) // self.batch_size)

    def __iter__(self) -> Iterator[Batch]:
        plan = self.epochs.plan(self.epoch())
        numbers = range(self.first(), len(self))
        reader = _RowReader(self.images, self.labels, self.positions, plan, self.batch_size)
        loader = DataLoader(
            reader,
            batch_size=None,
            sampler=numbers,
            num_workers=self.workers,
            pin_memory=self.device.type == "cuda",
            # Else it would draw from the global generator, once more after a resume.
            generator=torch.Generator(),
        )
        for number, (raw, labels) in zip(numbers, loader, strict=True):
            chosen = plan.batch(number, self.batch_size)
            within = Plan(torch.arange(len(labels)), chosen.crop, chosen.flip).to(self.device)
            padded = self.prepare(raw.to(self.device, non_blocking=True), self.epochs.augment.crop_padding)
            yield take(padded, within, self.size), labels.to(self.device, non_blocking=True)


class _RowReader(Dataset[Batch]):
    """Item n is the n-th whole batch of a plan, as the raw uint8 rows."""

    def __init__(self, images: Tensor, labels: Tensor, positions: Tensor, plan: Plan, batch_size: int) -> None:
        self.images, self.labels, self.positions = images, labels, positions
        self.plan, self.batch_size = plan, batch_size

    def __getitem__(self, number: int) -> Batch:
        rows = self.positions[self.plan.batch(number, self.batch_size).rows]
        return self.images[rows], self.labels[rows]
