"""The one form in which every reader hands over a data set."""

from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor

from aetransfer.data.reading import Reading
from aetransfer.errors import UserError
from aetransfer.printable import in_utf8

Split = Literal["train", "test"]

# ITU-R BT.601 luma, the weights of Pillow's and torchvision's grey conversion.
LUMA = (0.299, 0.587, 0.114)


@dataclass(frozen=True)
class Images:
    """A split, undecorated: no normalisation, no padding, no augmentation.

    images: (N, C, H, W) uint8 with C of 1 or 3 and N of 1 or more; may be a memory map. labels: (N,) int64 in
    [0, len(class_names)); all 0 where there are none, and class_names is then empty. class_names: in UTF-8,
    whatever the names of folders are, for they are written into many a file. reading: how files became these
    bytes, of a reader that decodes image files; an encoder that is trained on them reads the images it is shown later
    likewise. notes: what is left out and why, and what else a reader of the results must know of the data, a sentence
    each.

    Of the training split alone: validation, the positions (V,) int64 of the data's own validation images among these,
    None to have the program cut some out; has_test, whether there is a test split.

    Raises UserError, which says what is wrong, for anything else.
    """

    images: Tensor
    labels: Tensor
    class_names: tuple[str, ...]
    reading: Reading | None = None
    notes: tuple[str, ...] = ()
    validation: Tensor | None = None
    has_test: bool = True

    def __post_init__(self) -> None:
        if wrong := _wrong_images(self.images) or _wrong_labels(self.labels, len(self.images)):
            raise UserError(f"A reader's {wrong}.")
        if isinstance(self.class_names, list):
            object.__setattr__(self, "class_names", tuple(self.class_names))
        if wrong := _wrong_names(self.class_names) or _outside(self.labels, len(self.class_names)):
            raise UserError(f"A reader's {wrong}.")
        # The names of folders may be of no encoding.
        object.__setattr__(self, "class_names", tuple(in_utf8(name) for name in self.class_names))
        if self.validation is not None and (wrong := _wrong_positions(self.validation, len(self))):
            raise UserError(f"A reader's {wrong}.")

    def __len__(self) -> int:
        return len(self.labels)


def _wrong_images(images: Any) -> str | None:
    if not isinstance(images, Tensor):
        return f"images are {_kind(images)}: give a torch tensor, torch.from_numpy(array) of an array"
    shape = tuple(images.shape)
    if images.ndim != 4 or shape[1] not in (1, 3):
        return f"images are {shape}: give (N, 1, height, width), or 3 channels, in this order"
    if images.dtype != torch.uint8:
        return f"images are {images.dtype}: give torch.uint8, 0 to 255"
    if not images.numel():
        return f"images are {shape}: give one image at least"
    return None


def _wrong_labels(labels: Any, count: int) -> str | None:
    if not isinstance(labels, Tensor):
        return f"labels are {_kind(labels)}: give a torch tensor, torch.tensor(labels) of a list"
    if tuple(labels.shape) != (count,):
        return f"labels are {tuple(labels.shape)} for {count} images: give one for each, ({count},)"
    if labels.dtype != torch.int64:
        return f"labels are {labels.dtype}: give torch.int64, labels.long()"
    return None


def _wrong_names(names: Any) -> str | None:
    if not isinstance(names, tuple) or not all(isinstance(name, str) for name in names):
        return f"class_names are {names!r:.80}: give a tuple of strings, empty where there are no labels"
    if len(set(names)) < len(names):
        twice = next(name for name in names if names.count(name) > 1)
        return f"class_names have {twice!r} twice: give each class a name of its own"
    return None


def _outside(labels: Tensor, classes: int) -> str | None:
    low, high = int(labels.min()), int(labels.max())
    if not classes:
        return None if low == high == 0 else f"labels go from {low} to {high}, but it has no class_names: give 0 to all"
    if low < 0 or high >= classes:
        return f"labels go from {low} to {high}, but it has {classes} class_names: give 0 to {classes - 1}"
    return None


def _wrong_positions(validation: Any, count: int) -> str | None:
    if not isinstance(validation, Tensor) or validation.dtype != torch.int64 or validation.ndim != 1:
        return "validation is no tensor (V,) of torch.int64: give the positions of these images"
    if len(validation.unique()) != len(validation):
        return "validation has positions twice: give each once"
    if not 0 < len(validation) < count or validation.min() < 0 or validation.max() >= count:
        return (
            f"validation should be some of its {count} training images, but not all: its {len(validation)} positions "
            "are not among them or leave none to train on"
        )
    return None


def _kind(value: Any) -> str:
    return f"{type(value).__module__}.{type(value).__qualname__}".removeprefix("builtins.")


def as_images(given: Any, split: Split) -> Images:
    """Return what a reader gave for a split. Raises UserError for anything but Images."""
    if not isinstance(given, Images):
        raise UserError(
            f"The reader gives {type(given).__name__} for the {split} split: it has to return an "
            "aetransfer.data.images.Images."
        )
    return given


def sameness(images: Tensor, rows: Tensor) -> str | None:
    """Say in which way the images at `rows` (M,) int64 hold nothing to learn, None where they differ.

    images: (N, C, H, W) uint8. Of a usual set a few hundred are looked at.
    """
    first = images[rows[0]]
    same, flat = len(rows) > 1, True
    for part in rows.split(256):
        chosen = images[part]
        same = same and bool((chosen == first).all())
        flat = flat and bool((chosen == chosen[:, :, :1, :1]).all())
        if not same and not flat:
            return None
    if same:
        return f"All {len(rows):,} training images are the same{', and of one value' if flat else ''}"
    return f"Each of the {len(rows):,} training images is of one value"


def to_channels(images: Tensor, channels: int) -> Tensor:
    """Convert (N, 1 or 3, H, W) uint8 images to `channels`: grey is repeated, colour becomes luma."""
    present = images.shape[1]
    if present == channels:
        return images
    if present == 1:
        return images.expand(-1, channels, -1, -1)
    weights = torch.tensor(LUMA, device=images.device).view(1, 3, 1, 1)
    return (images * weights).sum(1, keepdim=True).round_().to(torch.uint8)
