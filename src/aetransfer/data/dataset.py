"""Somebody's map-style `torch.utils.data.Dataset` of images and labels, read once into `Examples`."""

import operator
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.utils.data import Dataset, IterableDataset

from aetransfer.data.examples import Examples
from aetransfer.errors import UserError

# Whether an item is the same when it is asked for again shows in a few of them.
ASKED_TWICE = 8


class WrongError(ValueError):
    """What is wrong with an image or a label, as a sentence that lacks its subject."""


def examples_of(dataset: Dataset[Any]) -> Examples:
    """Read all items, in order. Raises UserError for items that are no images of one size with or without a label.

    An item is (image, label), (image,) or the image alone; the label an int or None. The image: of PIL, in mode L or
    RGB; a tensor (C, H, W) of uint8, or of floats in [0, 1], which are rounded to 8 bits; an array (H, W) or (H, W, C)
    of uint8. The classes are called as the data set's `classes` says, else by their numbers.
    """
    name, length = type(dataset).__name__, getattr(dataset, "__len__", None)
    if isinstance(dataset, IterableDataset) or length is None:
        raise UserError(f"{name} has no length and no order: give a map-style Dataset, with __getitem__ and __len__.")
    count = length()
    if not count:
        raise UserError(f"{name} has no items.")
    images: Tensor | None = None
    labels: list[int | None] = []
    for number in range(count):
        try:
            image, label = _parts(dataset[number])
            if images is None:
                images = torch.empty((count, *image.shape), dtype=torch.uint8)
            if image.shape != images.shape[1:]:
                raise WrongError(f"is {_size(image)}, but the first is {_size(images[0])}: give all one size")
            if labels and (label is None) != (labels[0] is None):
                raise WrongError("has a label, or has none, unlike the first: give all of them one, or none")
            images[number] = image
            labels.append(label)
            if number < ASKED_TWICE and not torch.equal(image, _parts(dataset[number])[0]):
                raise WrongError("is another image when it is asked for again: leave what is random to data.augment")
        except WrongError as error:
            raise UserError(f"Item {number} of {name} {error}.") from error
    assert images is not None
    targets = None if labels[0] is None else torch.tensor(labels)
    return Examples(images, targets, names=names_of(dataset, targets))


def names_of(given: Any, targets: Tensor | None) -> tuple[str, ...]:
    """Return what the classes are called: by `classes` or `class_names` of what gives them, else by their numbers."""
    if targets is None:
        return ()
    for said in (getattr(given, "classes", None), getattr(given, "class_names", None)):
        if isinstance(said, list | tuple):
            return tuple(said)
    return tuple(map(str, range(int(targets.max()) + 1)))


def as_bytes(pixels: Tensor) -> Tensor:
    """Return uint8 pixels of uint8, or of floats in [0, 1]. Raises WrongError for anything else."""
    if pixels.dtype == torch.uint8:
        return pixels
    if not pixels.is_floating_point():
        raise WrongError(f"is of {pixels.dtype}: give torch.uint8, or floats in [0, 1]")
    low, high = pixels.aminmax()
    if not (low >= 0 and high <= 1):
        raise WrongError(
            f"holds values from {low:.3g} to {high:.3g}: give floats in [0, 1], for the encoder normalises them"
        )
    return pixels.float().mul(255).round_().to(torch.uint8)


def _parts(item: Any) -> tuple[Tensor, int | None]:
    """Return an item's image (1 or 3, H, W) uint8, and its label."""
    parts = tuple(item) if isinstance(item, tuple | list) else (item,)
    if len(parts) not in (1, 2):
        raise WrongError(f"has {len(parts)} parts: give (image, label)")
    image, label = (*parts, None)[:2]
    pixels = _pixels(image)
    if pixels.shape[0] not in (1, 3) or not pixels.numel():
        raise WrongError(f"is {_size(pixels)}: give 1 or 3 channels")
    if label is None:
        return pixels, None
    try:
        return pixels, operator.index(label)
    except TypeError as error:
        raise WrongError(f"has the label {label!r:.80}: give an int, or None") from error


def _pixels(image: Any) -> Tensor:
    """Return an image as (C, H, W) uint8."""
    if isinstance(image, Image.Image):
        if image.mode not in ("L", "RGB"):
            raise WrongError(f"is an image of mode {image.mode}: give L or RGB, image.convert('RGB')")
        image = np.array(image)
    if isinstance(image, np.ndarray):
        if image.dtype != np.uint8 or image.ndim not in (2, 3):
            raise WrongError(f"is an array {image.shape} of {image.dtype}: give (H, W) or (H, W, 3) of uint8")
        return torch.from_numpy(image.reshape(*image.shape[:2], -1)).permute(2, 0, 1)
    if not isinstance(image, Tensor):
        raise WrongError(f"is of {type(image).__name__}: give an image of PIL, a tensor or an array")
    if image.ndim != 3:
        raise WrongError(f"is a tensor {tuple(image.shape)}: give (C, H, W)")
    return as_bytes(image)


def _size(image: Tensor) -> str:
    return "x".join(map(str, image.shape))
