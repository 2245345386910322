"""Somebody's map-style `torch.utils.data.Dataset` of inputs and targets, read once into `Examples`."""

import operator
from contextlib import suppress
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
    """Read all items, in order. Raises UserError for items that are not all alike: inputs of one shape, with or without
    a target.

    An item is (input, target), (input,) or the input alone. An input is an image of PIL, in mode L or RGB; a tensor
    (C, H, W) or an array (H, W) or (H, W, C) of uint8; or floats: images (C, H, W) of 1 or 3 channels in [0, 1] are
    rounded to 8 bits, anything else (signals (C, L), vectors (D,), other channels) is kept as float32. A target is an
    int, a class; a float or floats (T,), values; bools (T,), many labels; or None. Classes and values are called as the
    data set's `classes` says, else by their numbers.
    """
    name, length = type(dataset).__name__, getattr(dataset, "__len__", None)
    if isinstance(dataset, IterableDataset) or length is None:
        raise UserError(f"{name} has no length and no order: give a map-style Dataset, with __getitem__ and __len__.")
    count = length()
    if not count:
        raise UserError(f"{name} has no items.")
    inputs: Tensor | None = None
    targets: list[Tensor | None] = []
    for number in range(count):
        try:
            each, target = _parts(dataset[number])
            if inputs is None:
                inputs = torch.empty((count, *each.shape), dtype=each.dtype)
            if each.shape != inputs.shape[1:] or each.dtype != inputs.dtype:
                raise WrongError(
                    f"is {_size(each)} of {each.dtype}, but the first is {_size(inputs[0])} of {inputs.dtype}: give "
                    "all one size and type"
                )
            if targets and not _alike(target, targets[0]):
                raise WrongError("has another kind of target than the first, or none: give all of them alike, or none")
            inputs[number] = each
            targets.append(target)
            if number < ASKED_TWICE and not torch.equal(each, _parts(dataset[number])[0]):
                raise WrongError("is another one when it is asked for again: leave what is random to data.augment")
        except WrongError as error:
            raise UserError(f"Item {number} of {name} {error}.") from error
    assert inputs is not None
    given = [target for target in targets if target is not None]
    together = torch.stack(given) if given else None
    return Examples(inputs, together, names=names_of(dataset, together))


def names_of(given: Any, targets: Tensor | None) -> tuple[str, ...]:
    """Return what classes, values or labels are called: by `classes` or `class_names` of what gives them, else by their
    numbers.
    """
    if targets is None:
        return ()
    for said in (getattr(given, "classes", None), getattr(given, "class_names", None)):
        if isinstance(said, list | tuple):
            return tuple(said)
    count = int(targets.max()) + 1 if targets.dtype == torch.int64 else targets[0].numel()
    return tuple(map(str, range(count)))


def as_input(values: Tensor) -> Tensor:
    """Return inputs, or one input, as the program has them: bytes of images, else float32.

    values: (..., C, H, W) of images. Raises WrongError for images of 1 or 3 channels whose floats are not in [0, 1].
    """
    if values.dtype == torch.uint8:
        return values
    if not values.is_floating_point():
        raise WrongError(f"is of {values.dtype}: give torch.uint8, or floats")
    if values.ndim < 3 or values.shape[-3] not in (1, 3):
        return values.float()
    low, high = values.aminmax()
    if not (low >= 0 and high <= 1):
        raise WrongError(
            f"holds values from {low:.3g} to {high:.3g}: give floats in [0, 1], for the encoder normalises them; a "
            "reader that returns Examples may keep others"
        )
    return values.float().mul(255).round_().to(torch.uint8)


def as_target(target: Any) -> Tensor:
    """Return one target: a class () int64, values () or (T,) float32, labels (T,) bool. Raises WrongError otherwise."""
    with suppress(TypeError):
        if not isinstance(target, bool | Tensor | np.ndarray) or np.ndim(target) == 0:
            return torch.tensor(operator.index(target))
    try:
        values = torch.as_tensor(target)
    except (TypeError, ValueError, RuntimeError) as error:
        raise WrongError(f"has the target {target!r:.80}: give an int, floats, bools, or None") from error
    if values.is_floating_point() and values.ndim < 2:
        return values.float()
    if values.dtype == torch.bool and values.ndim == 1:
        return values
    raise WrongError(f"has the target {target!r:.80}: give an int, floats (T,), bools (T,), or None")


def _alike(target: Tensor | None, first: Tensor | None) -> bool:
    if target is None or first is None:
        return target is first
    return target.dtype == first.dtype and target.shape == first.shape


def _parts(item: Any) -> tuple[Tensor, Tensor | None]:
    """Return an item's input, and its target."""
    parts = tuple(item) if isinstance(item, tuple | list) else (item,)
    if len(parts) not in (1, 2):
        raise WrongError(f"has {len(parts)} parts: give (input, target)")
    given, target = (*parts, None)[:2]
    values = as_input(_values(given))
    if values.dtype == torch.uint8 and (values.ndim != 3 or not values.numel()):
        raise WrongError(f"is {_size(values)} of bytes: give an image (C, H, W), or floats")
    return values, None if target is None else as_target(target)


def _values(given: Any) -> Tensor:
    """Return an input as a tensor, images with their channels first."""
    if isinstance(given, Image.Image):
        if given.mode not in ("L", "RGB"):
            raise WrongError(f"is an image of mode {given.mode}: give L or RGB, image.convert('RGB')")
        given = np.array(given)
    if isinstance(given, np.ndarray):
        if given.dtype == np.uint8 and given.ndim in (2, 3):
            if given.ndim == 3 and given.shape[2] not in (1, 3):
                raise WrongError(f"is an array {given.shape} of uint8: give (H, W) or (H, W, 3), or a tensor (C, H, W)")
            return torch.from_numpy(given.reshape(*given.shape[:2], -1)).permute(2, 0, 1)
        if not np.issubdtype(given.dtype, np.floating) or not 0 < given.ndim < 4:
            raise WrongError(
                f"is an array {given.shape} of {given.dtype}: give (H, W) or (H, W, C) of uint8, or floats"
            )
        given = torch.from_numpy(given)
    if not isinstance(given, Tensor):
        raise WrongError(f"is of {type(given).__name__}: give an image of PIL, a tensor or an array")
    if not 0 < given.ndim < 4 or not given.numel():
        raise WrongError(f"is a tensor {tuple(given.shape)}: give (C, H, W), (C, L) or (D,)")
    return given


def _size(values: Tensor) -> str:
    return "x".join(map(str, values.shape))
