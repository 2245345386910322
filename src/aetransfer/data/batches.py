"""From uint8 images, or arrays of floats, to augmented float batches: the hot path, without per-image Python.

What an epoch draws (order, crop offsets, flips, the numbers of other augmentations) is a pure function of seed and
epoch, made at once for the whole epoch on the CPU. So batches don't depend on the device or on whether they stream, and
any batch of any epoch can be had again.

Several processes share each batch: `batch_size` is that of all of them together, and what they hold of the n-th batch
are the images, crops and flips that one process would hold alone.

A random crop of a padded image is a window: it lies within one stretch of memory, of the same length for all, that
begins where its first pixel is. So a batch of crops is one copy of stretches, whatever lies between their rows.
"""

import sys
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F
from torch.utils.data import DataLoader, Dataset

from aetransfer.data.augmented import Augment
from aetransfer.data.draws import Draws, Share, mixed_seed
from aetransfer.data.examples import to_channels
from aetransfer.data.mixing import Mixed, partners_of


class Batch(NamedTuple):
    """What one process sees in a step.

    inputs (B, *shape) float32: images of 8 bits are in [0, 1], (B, C, H, W). targets: classes (B,) int64, zeros where
    there are none; values or labels (B, T) float32. margin: pixels of padding on each side of an image. draws: the
    batch's random numbers, see `Draws`; a model's `step` has them. mixed: with what each example was mixed, None where
    it was not; its loss is `over_targets`.
    """

    inputs: Tensor
    targets: Tensor
    share: Share
    margin: int = 0
    draws: Draws | None = None
    mixed: Mixed | None = None

    def content(self, images: Tensor) -> Tensor:
        """Cut the padding off images (..., H, W): reconstruction is trained and measured on the rest alone."""
        return content(images, self.margin)

    def over_targets(self, loss: Callable[[Tensor], Tensor]) -> Tensor:
        """Return each example's loss (B,), over its own target and that of its partner by their shares.

        loss: of targets (B, ...), a value an example.
        """
        if self.mixed is None:
            return loss(self.targets)
        return self.mixed.share * loss(self.targets) + (1 - self.mixed.share) * loss(self.mixed.targets)

    @property
    def main_targets(self) -> Tensor:
        """The target with the larger share in each example, (B, ...): what a training accuracy is of."""
        if self.mixed is None:
            return self.targets
        own = self.mixed.share.view(-1, *[1] * (self.targets.ndim - 1)) >= 0.5
        return self.targets.where(own, self.mixed.targets)


def content(images: Tensor, margin: int) -> Tensor:
    """Cut `margin` pixels of padding off each side of (..., H, W); inputs without padding stay as they are."""
    if margin == 0:
        return images
    return images[..., margin : images.shape[-2] - margin, margin : images.shape[-1] - margin]


@dataclass(frozen=True)
class Preparation:
    """What happens to every input alike: grey and colour become each other, images are zero padded by `pad` pixels."""

    channels: int
    pad: int

    def __call__(self, inputs: Tensor, extra_pad: int = 0) -> Tensor:
        """Map (N, C, H, W) to (N, channels, H', W'), both pads added on all sides; other inputs stay as they are.

        What it returns is contiguous.
        """
        margin = self.pad + extra_pad
        converted = to_channels(inputs, self.channels)
        return (F.pad(converted, (margin,) * 4) if margin else converted).contiguous()


def as_floats(inputs: Tensor) -> Tensor:
    """Return what an encoder takes: bytes in [0, 1], floats as they are."""
    return inputs if inputs.is_floating_point() else inputs.float() / 255


@dataclass(frozen=True)
class Plan:
    """What one epoch does: rows (N,) in order and, where it augments, each one's crop (N, 2), flip (N,) and other
    numbers drawn (N, D); order (N,) where examples are mixed, from which their partners follow.
    """

    rows: Tensor
    crop: Tensor | None = None
    flip: Tensor | None = None
    drawn: Tensor | None = None
    order: Tensor | None = None

    def batch(self, number: int, size: int) -> "Plan":
        return self.at(slice(number * size, (number + 1) * size))

    def at(self, places: slice | Tensor) -> "Plan":
        return Plan(
            self.rows[places],
            None if self.crop is None else self.crop[places],
            None if self.flip is None else self.flip[places],
            None if self.drawn is None else self.drawn[places],
            None if self.order is None else self.order[places],
        )

    def to(self, device: torch.device) -> "Plan":
        """Move rows and crops. The rest stays: to ask a device for flips would wait for all its queued work."""
        if device.type == "cpu":
            return self
        return Plan(
            self.rows.to(device, non_blocking=True),
            None if self.crop is None else self.crop.to(device, non_blocking=True),
            self.flip,
            self.drawn,
            self.order,
        )


@dataclass(frozen=True)
class Epochs:
    """Which of `count` images an epoch shows, in which order, and what is drawn for them.

    Training: shuffled and augmented; `epoch_images` makes an epoch longer or shorter than the data. Evaluation (shuffle
    false): each image exactly once, in order, untouched.
    """

    count: int
    shuffle: bool
    augment: Augment
    seed: int
    epoch_images: int | None = None

    def __len__(self) -> int:
        return self.epoch_images or self.count

    def plan(self, epoch: int) -> Plan:
        if not self.shuffle:
            return Plan(torch.arange(self.count))
        generator = torch.Generator().manual_seed(mixed_seed("order", self.seed, epoch))
        shuffles = -(-len(self) // self.count)
        rows = torch.cat([torch.randperm(self.count, generator=generator) for _ in range(shuffles)])[: len(self)]
        crop = torch.randint(2 * self.augment.crop_padding + 1, (len(self), 2), generator=generator)
        flip = torch.rand(len(self), generator=generator) < 0.5
        return Plan(
            rows,
            crop if self.augment.crop_padding else None,
            flip if self.augment.flip else None,
            *self.augment.drawn(len(self), self.seed, epoch),
        )


@dataclass(frozen=True)
class Shares:
    """How `world_size` processes divide the batches of an epoch of `images`; batch_size: of all of them together."""

    images: int
    batch_size: int
    rank: int = 0
    world_size: int = 1

    def __len__(self) -> int:
        return -(-self.images // self.batch_size)

    def __getitem__(self, number: int) -> Share:
        whole = min(self.batch_size, self.images - number * self.batch_size)
        return Share(whole, self.rank, self.world_size)

    def in_step(self, number: int, accumulated: int, batches: int) -> Share:
        """Return the share of a training batch, weighted so that its optimiser step is over the mean of all its images.

        A step has `accumulated` batches, the last of an epoch's `batches` may have fewer. Lightning counts each as
        1 / accumulated of its step (its issue 19987): too little in a step of fewer, too much for one of fewer images.
        """
        share, first = self[number], number - number % accumulated
        # A batch beyond those that are used may be fetched.
        end = max(number + 1, min(first + accumulated, batches))
        images = min(self.images, end * self.batch_size) - first * self.batch_size
        return share._replace(weight=share.whole * accumulated / images)

    def part(self, plan: Plan, number: int) -> Plan:
        """Return this process's part of an epoch's batch, and behind it the partners it is mixed with.

        One process has all of these in its part.
        """
        whole, share = plan.batch(number, self.batch_size), self[number]
        if whole.order is None or self.world_size == 1:
            return whole.at(share.rows)
        own = torch.arange(share.whole)[share.rows]
        return whole.at(torch.cat([own, partners_of(whole.order)[own]]))


def take(padded: Tensor, chosen: Plan, shape: Sequence[int]) -> Tensor:
    """Take the chosen rows; of images cut each row's window out of the padded ones, and flip it.

    padded: (N, *shape) of uint8 or float32, contiguous, images padded by the crop padding. shape: of an input without
    that padding. Returns (B, *shape) float32, of bytes in [0, 1].
    """
    # index_select copies whole rows: on a CPU three times as fast as padded[rows].
    windows = padded.index_select(0, chosen.rows) if chosen.crop is None else _windows(padded, chosen, *shape[1:])
    assert windows.shape[1:] == tuple(shape), (windows.shape, shape)
    inputs = windows.float()
    if chosen.flip is not None:
        flipped = chosen.flip.nonzero().squeeze(1).to(inputs.device, non_blocking=True)
        inputs.index_copy_(0, flipped, inputs.index_select(0, flipped).flip(3))
    return inputs.div_(255) if padded.dtype == torch.uint8 else inputs


def _windows(padded: Tensor, chosen: Plan, high: int, wide: int) -> Tensor:
    """Return each chosen row's window of padded (N, C, H, W) as a view (B, C, high, wide) of a copy."""
    assert chosen.crop is not None and padded.is_contiguous(), padded.stride()
    _, channels, height, width = padded.shape
    plane = height * width
    length = (channels - 1) * plane + (high - 1) * width + wide
    stretches = padded.as_strided((padded.numel() - length + 1, length), (1, 1))  # of every beginning, no copy
    beginnings = (chosen.rows * channels * height + chosen.crop[:, 0]) * width + chosen.crop[:, 1]
    copied = stretches.index_select(0, beginnings)
    return copied.as_strided((len(copied), channels, high, wide), (length, plane, width, 1))


def _from_the_start() -> int:
    return 0


def _each_its_own() -> tuple[int, int]:
    return 1, sys.maxsize


Gathered = tuple[Tensor, Tensor, Plan]  # inputs and targets of a Batch; what was chosen of an epoch


class Batches(ABC):
    """What resident and streamed batches share: all but how their images are gathered."""

    def __init__(
        self,
        *,
        prepare: Preparation,
        epochs: Epochs,
        epoch: Callable[[], int],
        batch_size: int,
        device: torch.device,
        rank: int = 0,
        world_size: int = 1,
        first: Callable[[], int] = _from_the_start,
        steps: Callable[[], tuple[int, int]] = _each_its_own,
    ) -> None:
        """batch_size: of all processes together.

        At the start of an epoch `epoch` is asked which it is, `first` with which batch it goes on, and `steps` how many
        batches an optimiser step has and how many of the epoch are used.
        """
        self.prepare, self.epochs, self.epoch, self.device = prepare, epochs, epoch, device
        self.first, self.steps = first, steps
        self.shares = Shares(len(epochs), batch_size, rank, world_size)
        epochs.augment.to(device)

    def __len__(self) -> int:
        return len(self.shares)

    def __iter__(self) -> Iterator[Batch]:
        epoch, first, steps = self.epoch(), self.first(), self.steps()
        numbers = range(first, len(self))
        gathered = self.gathered(self.epochs.plan(epoch), numbers)
        for number, (inputs, targets, chosen) in zip(numbers, gathered, strict=True):
            batch = Batch(inputs, targets, self.shares.in_step(number, *steps), self.prepare.pad)
            place = epoch * len(self) + number
            yield batch if chosen.drawn is None else self._augmented(batch, chosen, place, looks=number == first)

    @abstractmethod
    def gathered(self, plan: Plan, numbers: range) -> Iterator[Gathered]:
        """Yield what `Shares.part` names of each of these batches, cropped and flipped."""

    def _augmented(self, batch: Batch, chosen: Plan, place: int, looks: bool) -> Batch:
        """Augment a batch that has the partners behind it where there are several processes. place: in training."""
        augment, share, drawn = self.epochs.augment, batch.share, chosen.drawn
        assert drawn is not None
        seed = (mixed_seed("library", self.epochs.seed, place) + share.rank) % 2**32
        inputs, targets = augment.changed(batch.inputs, drawn, seed, looks), batch.targets
        if chosen.order is None:
            return batch._replace(inputs=inputs)
        if share.world_size > 1:
            (inputs, partners), (targets, others), drawn = inputs.chunk(2), targets.chunk(2), drawn.chunk(2)[0]
        else:
            places = partners_of(chosen.order).to(inputs.device)
            partners, others = inputs[places], targets[places]
        inputs, own = augment.mixed(inputs, partners, drawn)
        return batch._replace(inputs=inputs, targets=targets, mixed=Mixed(others, own))


class ResidentBatches(Batches):
    """Batches gathered from inputs that lie, padded, on the training device."""

    def __init__(self, inputs: Tensor, targets: Tensor, **common: Any) -> None:
        """inputs: (N, *shape) of uint8 or float32; targets: (N, ...). common: see `Batches`."""
        super().__init__(**common)
        assert self.epochs.count == len(inputs) == len(targets), (self.epochs.count, len(inputs), len(targets))
        self.shape = self.prepare(inputs[:1]).shape[1:]
        self.padded = self.prepare(inputs, self.epochs.augment.crop_padding).to(self.device)
        self.targets = targets.to(self.device)

    def gathered(self, plan: Plan, numbers: range) -> Iterator[Gathered]:
        for number in numbers:
            chosen = self.shares.part(plan, number).to(self.device)
            yield take(self.padded, chosen, self.shape), self.targets[chosen.rows], chosen


class StreamedBatches(Batches):
    """The same batches for inputs that don't fit: worker processes read rows, the training device pads and cuts."""

    def __init__(self, inputs: Tensor, targets: Tensor, *, positions: Tensor, workers: int, **common: Any) -> None:
        """As ResidentBatches, but `inputs` is memory-mapped and only its rows at `positions` (N,) int64 are used."""
        super().__init__(**common)
        assert self.epochs.count == len(positions), (self.epochs.count, len(positions))
        self.inputs, self.targets, self.positions, self.workers = inputs, targets, positions, workers
        self.shape = self.prepare(inputs[:1]).shape[1:]

    def gathered(self, plan: Plan, numbers: range) -> Iterator[Gathered]:
        reader = _RowReader(self.inputs, self.targets, self.positions, plan, self.shares)
        loader = DataLoader(
            reader,
            batch_size=None,
            sampler=numbers,
            num_workers=self.workers,
            pin_memory=self.device.type == "cuda",
            # Else it would draw from the global generator, once more after a resume.
            generator=torch.Generator(),
        )
        for number, (raw, targets) in zip(numbers, loader, strict=True):
            chosen = self.shares.part(plan, number)
            within = Plan(torch.arange(len(targets)), chosen.crop, chosen.flip).to(self.device)
            padded = self.prepare(raw.to(self.device, non_blocking=True), self.epochs.augment.crop_padding)
            targets = targets.to(self.device, non_blocking=True)
            yield take(padded, within, self.shape), targets, chosen


class _RowReader(Dataset[tuple[Tensor, Tensor]]):
    """Item n is what a process needs of the n-th batch of a plan, as the raw rows."""

    def __init__(self, inputs: Tensor, targets: Tensor, positions: Tensor, plan: Plan, shares: Shares) -> None:
        self.inputs, self.targets, self.positions = inputs, targets, positions
        self.plan, self.shares = plan, shares

    def __getitem__(self, number: int) -> tuple[Tensor, Tensor]:
        rows = self.positions[self.shares.part(self.plan, number).rows]
        return self.inputs[rows], self.targets[rows]
