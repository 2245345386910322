"""The LightningDataModule of every data set: a reader's examples, cut, padded and batched on the training device."""

import logging
import math
import zlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from typing import Any, Literal

import torch
from pytorch_lightning import LightningDataModule, Trainer
from torch import Tensor

from aetransfer.config.shapes import noun_of, of_shape, with_channels
from aetransfer.data.augmented import Augment, is_foreign
from aetransfer.data.batches import Batch, Epochs, Preparation, ResidentBatches, StreamedBatches, as_floats
from aetransfer.data.examples import Examples, Split, sameness
from aetransfer.data.float_augmentation import told
from aetransfer.data.reader import read_split
from aetransfer.data.reading import Reading
from aetransfer.data.split import check_apart, cut, cut_test, fold_of, more_than_asked
from aetransfer.data.targets import Targets, listed
from aetransfer.errors import UserError
from aetransfer.printable import printable

log = logging.getLogger(__name__)

Part = Literal["train", "val", "test"]
PARTS: tuple[Part, ...] = ("train", "val", "test")
Labelled = tuple[Tensor, Tensor]  # inputs and targets of a Batch
Loader = ResidentBatches | StreamedBatches
NO_AUGMENT = Augment()


def _renamed(examples: Examples, names: tuple[str, ...], places: Sequence[int]) -> Examples:
    """Return the examples with their classes n as `places[n]`, or with these columns of their values or labels."""
    if examples.learnt.kind == "classes":
        return replace(examples, targets=torch.tensor(places)[examples.labels], names=names)
    assert examples.targets is not None
    return replace(examples, targets=examples.targets.reshape(len(examples), -1)[:, list(places)], names=names)


def _called_alike(examples: Examples, own: tuple[str, ...], split: Split) -> Examples:
    """Return a split's examples with the targets of the other split, `own`: they are told by their names.

    Raises UserError for other names.
    """
    names = examples.names
    if examples.learnt.kind == "classes":
        if not set(names) <= set(own):
            noun = noun_of(examples.inputs.shape[1:])
            raise UserError(
                f"The {split} {noun} are of the classes {listed(names)}, but the other split's are "
                f"{listed(own)}: give both the same class names."
            )
        return _renamed(examples, own, [own.index(name) for name in names])
    if set(names) != set(own):
        raise UserError(
            f"The {split} targets are {listed(names, 'in all')}, but the other split's {listed(own, 'in all')}: give "
            "both the same."
        )
    return _renamed(examples, own, [names.index(name) for name in own])


def data_of(trainer: Trainer) -> "DataModule":
    module = getattr(trainer, "datamodule", None)
    assert isinstance(module, DataModule), module
    return module


class DataModule(LightningDataModule):
    """Batches as `aetransfer.data.batches.Batch` has them; images are padded by `pad` pixels on each side.

    batch_size: examples of a batch over all processes, of which each has its share.
    """

    def __init__(
        self,
        reader: Callable[..., Any],
        *,
        shape: Sequence[int] | None,
        stated: bool = False,
        pad: int,
        batch_size: int,
        val_fraction: float,
        labels_per_class: int | None,
        train_fraction: float | None,
        epoch_images: int | None,
        augment: Augment,
        max_memory_gb: float,
        workers: int,
        seed: int,
        labels: Literal["none"] | None = None,
        classifies: bool = False,
        test_fraction: float | None = None,
        folds: int | None = None,
        fold: int | None = None,
    ) -> None:
        """reader: see `aetransfer.data.reader.read_split`. For the fractions see `aetransfer.data.split.cut`.

        shape: of an input without padding; 8-bit images of 1 and 3 channels are converted to each other's. None for
        that of the first split that is read. stated: the shape is a config's, which is one of 8-bit images alone.
        labels: none to forget those that there are. classifies: whether classes are learnt, so that each must be there
        to train on and to validate by. test_fraction: of data without a test split, what is tested on. fold: which of
        `folds` parts of the training split is tested on, in place of a test split, which stays unread.
        """
        super().__init__()
        self.reader, self.batch_size = reader, batch_size
        self.margin = pad  # pixels on each side of an image, which no reconstruction is held to
        self.unpadded_shape, self.stated = None if shape is None else tuple(shape), stated
        self.val_fraction, self.labels_per_class, self.train_fraction = val_fraction, labels_per_class, train_fraction
        self.epoch_images = epoch_images
        self.augment, self.max_bytes, self.workers, self.seed = augment, max_memory_gb * 1e9, workers, seed
        self.labels, self.classifies = labels, classifies
        self.test_fraction, self.folds, self.fold = test_fraction, folds, fold
        self.notes: list[str] = []
        self._read: dict[Split, Examples] = {}
        # The training split with the targets that `labels` may forget: a pretraining without them has the folds, and
        # the test part, of the transfer with them.
        self._whole: Examples | None = None
        self._names: tuple[str, ...] = ()
        self._taken_as: Callable[[Examples], Examples] | None = None
        self._positions: dict[Part, Tensor] = {}

    def setup(self, stage: str) -> None:
        """Read what `stage` needs: the test split is opened by stage "test" alone, but for its groups, which are none
        of the training split's. Raises UserError for bad data.

        For damaged test files too, before any training: the project's readers check them when they read train.
        """
        if stage == "test" and not self.tests_within:
            self._open("test")
            self._positions["test"] = torch.arange(len(self._read["test"]))
            return
        if (stage == "test" and "test" in self._positions) or "train" in self._positions:
            return
        self._open("train")
        assert self._whole is not None
        among = self._hold_out(self._whole)
        if stage != "test":
            self._cut(self._read["train"], among)
            log.info("%s", self.used)

    @property
    def tests_within(self) -> bool:
        """Whether what is tested on is a part of the training split."""
        return self.folds is not None or self.test_fraction is not None

    def _hold_out(self, examples: Examples) -> Tensor | None:
        """Cut out of the training split what is tested on. Returns the positions of the rest (M,), None for all."""
        rest = test = None
        if self.test_fraction is not None:
            if examples.has_test:
                raise UserError(
                    f"data.test_fraction={self.test_fraction:g} cuts a test part out of data that have none, and these "
                    "have a test split: leave it out."
                )
            rest, test = cut_test(examples, self.test_fraction)
        if self.folds is not None and self.fold is not None:
            numbers = fold_of(examples, self.folds, rest)
            test = (numbers == self.fold).nonzero().squeeze(1)
            rest = torch.arange(len(examples)) if rest is None else rest
            rest = rest[numbers[rest] != self.fold]
        if test is not None:
            self._positions["test"] = test
        elif examples.groups is not None and examples.has_test:
            self._open("test")
            if (groups := self._read["test"].groups) is not None:
                check_apart(examples.groups, groups, examples.grouped_by, "the training split", "the test split")
        return rest

    def _cut(self, images: Examples, among: Tensor | None) -> None:
        if self.labels_per_class is not None and images.learnt.kind != "classes":
            has = "no labels" if images.targets is None else str(images.learnt)
            raise UserError(
                f"data.labels_per_class={self.labels_per_class} counts {self.noun} of a class, and these have {has}: "
                "take data.train_fraction."
            )
        self._positions["train"], self._positions["val"] = cut(
            images,
            val_fraction=self.val_fraction,
            labels_per_class=self.labels_per_class,
            train_fraction=self.train_fraction,
            seed=self.seed,
            every_class=self.classifies,
            among=among,
        )
        count, usable, noun = self.count("val"), len(images) if among is None else len(among), self.noun
        if images.validation is not None:
            self._note(f"Validation: the data's own {count:,} {noun} for every seed; data.val_fraction does not apply.")
        elif why := more_than_asked(count, self.val_fraction, usable):
            why = why if images.groups is None else f"{self.val_fraction:.0%} is of the groups, which are kept whole"
            self._note(f"Validation: {count:,} of {usable:,} {noun} ({why}).")
        if said := sameness(images.inputs, self._positions["train"], self.noun):
            log.warning("%s: look at the files, and at how they are read.", said)

    def _open(self, split: Split) -> None:
        if split in self._read:
            return
        if split == "test":
            self.check_test()
        images = read_split(self.reader, split)
        if split == "train":
            self._whole = images
        if self.labels == "none":
            images = replace(images, targets=None, names=())
        self._check_form(images.inputs, split)
        own = self._names = self._names or images.names
        if images.names != own:
            images = _called_alike(images, own, split)
        if not self._read:  # the second split that is read would say it again
            for note in images.notes:
                self._note(note)
        self._read[split] = images if self._taken_as is None else self._taken_as(images)

    def _check_form(self, inputs: Tensor, split: Split) -> None:
        """Raise UserError for inputs of another shape than asked, or unlike those of the other split."""
        given = tuple(inputs.shape[1:])
        if inputs.dtype == torch.uint8 and (len(given) != 3 or _has_channels_last(given)):
            raise UserError(
                f"The {split} inputs are {tuple(inputs.shape)} of {inputs.dtype}: give images (N, channels, height, "
                "width), or floats."
            )
        if self.stated and inputs.is_floating_point():
            raise UserError(
                f"The {split} inputs are {inputs.dtype}, and data.channels and data.image_size are of images with 8 "
                "bits: leave both out, and the data say what they are."
            )
        shape = self.unpadded_shape = self.unpadded_shape or given
        first = next((each.inputs.dtype for each in self._read.values()), inputs.dtype)
        if inputs.dtype != first:
            raise UserError(f"The {split} inputs are {inputs.dtype}, but the other split's {first}: give both alike.")
        converts = inputs.dtype == torch.uint8 and len(given) == 3 and {given[0], shape[0]} <= {1, 3}
        if given[1:] != shape[1:] or len(given) != len(shape):
            if len(given) == len(shape) == 3:
                asked = shape[1] if shape[1] == shape[2] else f"[{shape[1]},{shape[2]}]"
                raise UserError(
                    f"The {split} images are {given[1]}x{given[2]}, but data.image_size={asked}: correct it."
                )
            raise UserError(
                f"The {split} inputs are {of_shape(given)}, but {of_shape(shape)} were found: begin afresh."
            )
        if given != shape and not converts:
            raise UserError(
                f"The {split} inputs are {with_channels(given)}, of {inputs.dtype}, but {shape[0]} are asked for: only "
                "images of 8 bits with 1 or 3 are converted."
            )
        if self.margin and len(shape) != 3:
            raise UserError(f"data.pad={self.margin} pads images, and these are {noun_of(shape)}: leave it out.")

    @property
    def prepare(self) -> Preparation:
        """What happens to each input alike."""
        assert self.unpadded_shape is not None, "a split is read before"
        return Preparation(self.unpadded_shape[0], self.margin)

    @property
    def shape(self) -> tuple[int, ...]:
        """Of one input as the encoder sees it, padding included."""
        assert self.unpadded_shape is not None, "a split is read before"
        channels, *sides = self.unpadded_shape
        return channels, *(side + 2 * self.margin for side in sides)

    @property
    def takes_pixels(self) -> bool:
        """Whether inputs are pixels in [0, 1], of bytes; others are floats of any range and unit."""
        return self._any.inputs.dtype == torch.uint8

    @property
    def noun(self) -> str:
        """What inputs are: images, signals, vectors, or else examples."""
        return noun_of(self.shape)

    def take_targets(self, names: tuple[str, ...], places: Sequence[int]) -> None:
        """Call targets `names` from here on, in each split: what is class n becomes class places[n]; of values and
        labels only the columns `places` stay, in this order. The validation cut stays what it is.
        """
        self._taken_as = partial(_renamed, names=names, places=places)
        self._read = {split: self._taken_as(examples) for split, examples in self._read.items()}

    def _note(self, sentence: str) -> None:
        # Names of files and classes may be in it, and no text.
        sentence = printable(sentence)
        self.notes.append(sentence)
        log.info("%s", sentence)

    @property
    def has_test(self) -> bool:
        """Tell whether there is a test split, as far as is known before one is asked for."""
        return self.tests_within or "train" not in self._read or self._read["train"].has_test

    def check_test(self) -> None:
        """Raise UserError where it is known that there is no test split."""
        if not self.has_test:
            raise UserError("These data have no test split: choose split=val.")

    def check_processes(self, count: int) -> None:
        """Raise UserError where so many processes can't share the batches: these are for any number.

        Say where these draw other numbers than one process.
        """
        if count > 1 and is_foreign(self.augment.transforms):
            log.warning(
                "A library's transforms in data.augment draw their own numbers: %d processes draw others than one.",
                count,
            )

    @property
    def used(self) -> str:
        """Say which images are used: to train on, to validate, and to test on once they are opened."""
        parts = [f"{self.count(part):,} {part}" for part in PARTS if part in self._positions]
        of = f"{'of' if self.class_names else 'with'} {self.targets}" if self.targets.names else "without labels"
        whole = ", ".join(f"{count:,} {part}" for part, count in self.groups.items())
        called = self._any.grouped_by
        kept = f"; in whole groups ({called}), {whole}" if whole else ""
        tested = f"; tested on {self.tested_on}" if self.tests_within else ""
        return f"Used: {', '.join(parts)} {self.noun} {of}{'' if self.has_test else ', no test split'}{kept}{tested}."

    @property
    def groups(self) -> dict[Part, int]:
        """Count the groups of each part that was cut, or whose split was read; empty of data without groups."""
        positions = dict(self._positions)
        if not self.tests_within and "test" in self._read:
            positions["test"] = torch.arange(len(self._read["test"]))
        found = {part: self._examples(part).groups for part in PARTS if part in positions}
        return {part: len(of[positions[part]].unique()) for part, of in found.items() if of is not None}

    @property
    def tested_on(self) -> str:
        """Say which part of the training split is tested on; empty where it is a split of its own."""
        if self.folds is not None:
            return f"fold {self.fold} of {self.folds}"
        return "" if self.test_fraction is None else f"a part that was cut out, {self.test_fraction:.0%}"

    @property
    def held_out(self) -> str | None:
        """Name what is held out of the training split to test on, in 8 hexadecimal digits: equal for the same of
        equally many groups, without groups examples. None where that is a split of its own.
        """
        if not self.tests_within:
            return None
        test, groups = self._positions["test"], self._examples("test").groups
        held, of = (test, len(self._examples("test"))) if groups is None else (groups[test], len(groups.unique()))
        return f"{zlib.crc32(torch.cat([held.unique(), torch.tensor([of])]).numpy().tobytes()):08x}"

    def account(self) -> dict[str, Any]:
        """Return what a run's result.json says of its data, after the fit."""
        train = self._read["train"]
        missing = {part: self._without(part) for part in self._positions}
        return {
            "used": self.used,
            "notes": self.notes,
            "classes": len(self.class_names),
            "validation": "cut" if train.validation is None else "own",
            **({"without": missing} if any(missing.values()) else {}),
            **({"tested_on": self.tested_on, "held_out": self.held_out} if self.tests_within else {}),
            **({} if train.groups is None else {"groups": {**self.groups, "called": train.grouped_by}}),
        }

    def _without(self, part: Part) -> list[str]:
        """Name the classes of which a part has no example."""
        here = self._examples(part).labels[self._positions[part]].unique() if self.class_names else []
        return [name for number, name in enumerate(self.class_names) if number not in here]

    @property
    def _any(self) -> Examples:
        """A split that was read, for what is the same in both."""
        return next(iter(self._read.values()))

    def _examples(self, part: Part) -> Examples:
        """Return what a part's positions are of."""
        return self._read["test" if part == "test" and not self.tests_within else "train"]

    @property
    def training_split(self) -> Examples:
        """What the reader gave, before validation is cut out of it."""
        return self._read["train"]

    @property
    def reading(self) -> Reading | None:
        """How image files became bytes, of a reader that says so."""
        return self._any.reading

    @property
    def targets(self) -> Targets:
        """What there is to learn of them."""
        return self._any.learnt

    @property
    def class_names(self) -> tuple[str, ...]:
        """Empty where there are no classes."""
        return self.targets.names if self.targets.kind == "classes" else ()

    def count(self, part: Part) -> int:
        """Images that `part` really uses, after the validation cut and the label subset; 0 for a test split that is
        not there."""
        return 0 if part == "test" and not self.has_test else len(self._positions[part])

    def statistics(self) -> tuple[Tensor, Tensor]:
        """Mean and standard deviation of the training inputs as the encoder sees them, by the first axis of an input:
        two (channels,) float32. What never varies has the deviation 1, of pixels .001.
        """
        inputs, rows = self._read["train"].inputs, self._positions["train"]
        mean, variance = (_of_bytes if self.takes_pixels else _of_floats)(self.prepare, inputs, rows)
        deviation = variance.sqrt().float()
        smallest = deviation.clamp_min(1e-3) if self.takes_pixels else deviation.where(deviation > 0, 1.0)
        return mean.float(), smallest

    def training_targets(self) -> Tensor:
        """Return the targets of all training examples, as a batch has them."""
        return self._read["train"].labels[self._positions["train"]]

    def first_inputs(self, part: Part, count: int) -> Tensor:
        """Return the first inputs of a part, (count or fewer, *shape) as a batch has them."""
        return self.inputs_at(part, torch.arange(min(count, self.count(part))))

    def batches(self, part: Part) -> int:
        """Return how many batches an epoch of a part has."""
        images = (self.epoch_images if part == "train" else None) or self.count(part)
        return -(-images // self.batch_size)

    def inputs_at(self, part: Part, places: Tensor) -> Tensor:
        """Return a part's inputs by their places in it (N,) int64, (N, *shape) as a batch has them."""
        inputs = self._examples(part).inputs[self._positions[part][places]]
        return as_floats(self.prepare(inputs))

    def in_order(
        self,
        part: Part,
        batch_size: int,
        device: torch.device,
        most: int | None = None,
        shuffled_by: torch.Generator | None = None,
    ) -> Iterator[Labelled]:
        """Yield a part's inputs once, untouched and in order, and their targets; it needs no Trainer.

        most: of a larger part so many, evenly spaced, as a folder's images come class by class. shuffled_by: draws
        another order, for what needs batches of all classes.
        """
        source = self._examples(part)
        targets, positions = source.labels, self._positions[part]
        if most is not None and most < len(positions):
            positions = positions[torch.arange(most) * len(positions) // most]
        if shuffled_by is not None:
            positions = positions[torch.randperm(len(positions), generator=shuffled_by)]
        for rows in positions.split(batch_size):
            yield as_floats(self.prepare(source.inputs[rows].to(device))), targets[rows].to(device)

    def transfer_batch_to_device(self, batch: Batch, device: torch.device, dataloader_idx: int) -> Batch:
        """Leave a batch where it is: it was made there."""
        return batch

    def train_dataloader(self) -> Iterable[Batch]:
        return self._loader("train", shuffle=True)

    def val_dataloader(self) -> Loader:
        return self._loader("val", shuffle=False)

    def test_dataloader(self) -> Loader:
        return self._loader("test", shuffle=False)

    def _loader(self, part: Part, shuffle: bool) -> Loader:
        trainer = self.trainer
        if shuffle and self.augment.needs_statistics:
            one_a_channel = (-1, *(1 for _ in self.shape[1:]))
            told(self.augment.transforms, *(each.view(one_a_channel) for each in self.statistics()))
        assert trainer is not None, "loaders belong to a Trainer, whose device and ranks they serve"
        source = self._examples(part)
        positions = self._positions[part]
        epochs = Epochs(
            count=len(positions),
            shuffle=shuffle,
            augment=self.augment if shuffle else NO_AUGMENT,
            seed=self.seed,
            epoch_images=self.epoch_images if shuffle else None,
        )
        common: dict[str, Any] = {
            "prepare": self.prepare,
            "epochs": epochs,
            "epoch": lambda: trainer.current_epoch,
            "batch_size": self.batch_size,
            "device": trainer.strategy.root_device,
            "rank": trainer.global_rank,
            "world_size": trainer.world_size,
        }
        if shuffle:
            # A run that was cut off within an epoch goes on where it was.
            common["first"] = lambda: trainer.fit_loop.batch_idx + 1
            common["steps"] = lambda: (trainer.accumulate_grad_batches, int(trainer.num_training_batches))
        if self._resident_bytes(epochs) <= self.max_bytes:
            return ResidentBatches(source.inputs[positions], source.labels[positions], **common)
        log.info("%s: %d %s exceed data.max_memory_gb and are streamed.", part, len(positions), self.noun)
        return StreamedBatches(source.inputs, source.labels, positions=positions, workers=self.workers, **common)

    def _resident_bytes(self, epochs: Epochs) -> int:
        channels, *sides = self.shape
        values = channels * math.prod(side + 2 * epochs.augment.crop_padding for side in sides)
        return epochs.count * values * (1 if self.takes_pixels else 4)


def _has_channels_last(shape: tuple[int, ...]) -> bool:
    """Tell whether an image is (height, width, channels), as far as one can: no image is one to four pixels wide."""
    return shape[2] <= 4 < min(shape[:2])


def _of_bytes(prepare: Preparation, images: Tensor, rows: Tensor) -> tuple[Tensor, Tensor]:
    """Return mean and variance of each channel of prepared uint8 images as pixels in [0, 1], (channels,) float64."""
    # A start computes this: counting how often each of a byte's values occurs is exact, and as floats CIFAR-10's
    # training images took four seconds.
    counts = torch.zeros(prepare.channels, 256, dtype=torch.int64)
    for part in rows.split(2048):
        batch = prepare(images[part])
        counts += torch.stack([channel.flatten().bincount(minlength=256) for channel in batch.unbind(1)])
    shares = counts.double() / counts.sum(1, keepdim=True)
    values = torch.arange(256, dtype=torch.float64) / 255
    mean = shares @ values
    return mean, (shares * (values - mean[:, None]).square()).sum(1)


def _of_floats(prepare: Preparation, inputs: Tensor, rows: Tensor) -> tuple[Tensor, Tensor]:
    """Return mean and variance of each channel of prepared float inputs, (channels,) float64.

    In two passes: the square of a large mean leaves nothing of a small variance.
    """

    def mean_of(part_of: Callable[[Tensor], Tensor]) -> Tensor:
        sums = [part_of(prepare(inputs[part]).double().movedim(1, 0).flatten(1)).sum(1) for part in rows.split(2048)]
        return torch.stack(sums).sum(0) / (len(rows) * values)

    values = prepare(inputs[rows[:1]])[0, 0].numel()
    mean = mean_of(lambda part: part)
    return mean, mean_of(lambda part: (part - mean[:, None]).square())
