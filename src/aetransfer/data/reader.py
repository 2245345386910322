"""What a reader may be: a function that gives `Examples` or a map-style Dataset, or a LightningDataModule."""

import inspect
import operator
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.utils.data import Dataset, IterableDataset

from aetransfer.data.draws import seed_all
from aetransfer.data.examples import Examples, Split
from aetransfer.errors import UserError

# Whether an item is the same when it is asked for again shows in a few of them.
ASKED_TWICE = 8
# What the pass through a module's loaders draws with, whatever the seed of the run.
SEED = 0
LIGHTNINGS = ("pytorch_lightning.", "lightning.")
NOT_CALLED = ("on_before_batch_transfer", "transfer_batch_to_device", "on_after_batch_transfer")

Batch = tuple[Tensor, Tensor | None]  # inputs (B, *shape) and targets (B, ...), as `Examples` has them


class WrongError(ValueError):
    """What is wrong with an item or a batch, as a sentence that lacks its subject."""


def makes_module(reader: Callable[..., Any]) -> bool:
    """Tell whether a reader is the class of a data module: of pytorch_lightning's, or of lightning's."""
    kind = getattr(reader, "func", reader)
    return isinstance(kind, type) and hasattr(kind, "train_dataloader")


def read_split(reader: Callable[..., Any], split: Split) -> Examples:
    """Return what a reader gives for a split. reader: with the keys of its node bound to it.

    It is called with split="train" or "test", or with train=True or False where it takes that and no split. Raises
    UserError where it gives anything but Examples or a Dataset, and is no class of a LightningDataModule.
    """
    if makes_module(reader):
        return examples_of_module(reader(), split)
    parameters = inspect.signature(reader).parameters
    takes_any = any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters.values())
    if "split" in parameters or (takes_any and "train" not in parameters):
        given = reader(split=split)
    elif "train" in parameters:
        given = reader(train=split == "train")
    else:
        raise UserError("The reader takes neither split nor train, which say what it is to read: give it one of them.")
    if isinstance(given, Examples):
        return given
    if isinstance(given, Dataset):
        return examples_of(given)
    raise UserError(
        f"The reader gives {type(given).__name__} for the {split} split: it has to return an "
        "aetransfer.data.examples.Examples, or a torch.utils.data.Dataset of images and labels."
    )


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


# A map-style Dataset.


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
    inputs = torch.empty(0)
    targets: list[Tensor | None] = []
    for number in range(count):
        try:
            each, target = _item(dataset[number])
            if not number:
                inputs = torch.empty((count, *each.shape), dtype=each.dtype)
            if each.shape != inputs.shape[1:] or each.dtype != inputs.dtype:
                raise WrongError(
                    f"is {_size(each)} of {each.dtype}, but the first is {_size(inputs[0])} of {inputs.dtype}: give "
                    "all one size and type"
                )
            if targets and _form(target) != _form(targets[0]):
                raise WrongError("has another kind of target than the first, or none: give all of them alike, or none")
            inputs[number] = each
            targets.append(target)
            if number < ASKED_TWICE and not torch.equal(each, _item(dataset[number])[0]):
                raise WrongError("is another one when it is asked for again: leave what is random to data.augment")
        except WrongError as error:
            raise UserError(f"Item {number} of {name} {error}.") from error
    given = [target for target in targets if target is not None]
    together = torch.stack(given) if given else None
    return Examples(inputs, together, names=names_of(dataset, together))


def _form(target: Tensor | None) -> Any:
    return None if target is None else (target.dtype, target.shape)


def _item(item: Any) -> Batch:
    """Return an item's input, and its target."""
    parts = tuple(item) if isinstance(item, tuple | list) else (item,)
    if len(parts) not in (1, 2):
        raise WrongError(f"has {len(parts)} parts: give (input, target)")
    given, target = (*parts, None)[:2]
    values = as_input(_channels_first(given))
    if values.dtype == torch.uint8 and values.ndim != 3:
        raise WrongError(f"is {_size(values)} of bytes: give an image (C, H, W), or floats")
    return values, None if target is None else _target(target)


def _channels_first(given: Any) -> Tensor:
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


def _target(target: Any) -> Tensor:
    """Return one target: a class () int64, values () or (T,) float32, labels (T,) bool."""
    with suppress(TypeError):
        if not isinstance(target, Tensor | np.ndarray) or target.ndim == 0:
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


def _size(values: Tensor) -> str:
    return "x".join(map(str, values.shape))


# A LightningDataModule, through its loaders.


def examples_of_module(module: Any, split: Split) -> Examples:
    """Set a module up and read what its loaders give: with split train the validation images behind those to train on.

    Training images are those of one pass with a seed of its own, whatever the loader draws. Raises UserError for
    loaders or batches of other kinds, and for what this program would not call.
    """
    # Lightning takes a second to import.
    from pytorch_lightning.utilities.seed import isolate_rng

    name = type(module).__name__
    for hook in NOT_CALLED:
        if _defines(module, hook):
            raise UserError(f"{name} defines {hook}, which is not called here: let its data set do what that does.")
    with isolate_rng():
        seed_all(SEED)
        module.prepare_data()
        if split == "test":
            module.setup("test")
            images, targets = _one_pass(name, "test", module.test_dataloader)
            return Examples(images, targets, names=names_of(module, targets))
        if not _defines(module, "val_dataloader"):
            raise UserError(f"{name} has no val_dataloader, which the best epoch is chosen by: give it one.")
        module.setup("fit")
        images, targets = _one_pass(name, "train", module.train_dataloader)
        seed_all(SEED)
        first = next(batches_of(name, module.train_dataloader()))[0]
        if not torch.equal(images[: len(first)], first):
            raise UserError(
                f"{name} gives other training images for the same seed, so that no run could be found again: let it "
                "draw from the generators of torch, NumPy or Python, and not seed them itself."
            )
        val_images, val_targets = _one_pass(name, "val", module.val_dataloader)
    if val_images.shape[1:] != images.shape[1:] or (targets is None) != (val_targets is None):
        raise UserError(f"{name} gives other inputs to validate than to train: give both one size, and both targets.")
    if targets is not None and val_targets is not None:
        targets = torch.cat([targets, val_targets])
    return Examples(
        torch.cat([images, val_images]),
        targets,
        names=names_of(module, targets),
        notes=(f"Training batches are made by {name}; statistics and measures are of one pass through its loaders.",),
        validation=torch.arange(len(images), len(images) + len(val_images)),
        has_test=_defines(module, "test_dataloader"),
    )


def batches_of(name: str, loader: Any) -> Iterator[Batch]:
    """Yield a loader's batches. Raises UserError for one that is not (inputs, targets) or inputs alone."""
    for number, given in enumerate(loader):
        try:
            yield _batch(given)
        except WrongError as error:
            raise UserError(f"Batch {number} of {name} {error}.") from error


def _defines(module: Any, method: str) -> bool:
    return not getattr(type(module), method).__module__.startswith(LIGHTNINGS)


def _one_pass(name: str, part: str, loader_of: Callable[[], Any]) -> Batch:
    seed_all(SEED)
    loader = loader_of()
    if isinstance(loader, list | tuple | dict):
        raise UserError(f"{name} gives several loaders for {part}: give one.")
    batches = list(batches_of(name, loader))
    if not batches:
        raise UserError(f"The {part} loader of {name} gives no batch.")
    images, labels = zip(*batches, strict=True)
    if len({tuple(each.shape[1:]) for each in images}) > 1 or len({each is None for each in labels}) > 1:
        raise UserError(f"The {part} batches of {name} differ in size, or in having labels: give all alike.")
    return torch.cat(images), None if labels[0] is None else torch.cat(labels)


def _batch(given: Any) -> Batch:
    parts = tuple(given) if isinstance(given, tuple | list) else (given,)
    if len(parts) not in (1, 2) or not isinstance(parts[0], Tensor):
        raise WrongError(f"is {type(given).__name__} of {len(parts)}: give (inputs, targets), both tensors")
    inputs, targets = (*parts, None)[:2]
    if inputs.ndim < 2 or (inputs.dtype == torch.uint8 and inputs.ndim != 4):
        raise WrongError(
            f"has inputs {tuple(inputs.shape)}: give images (B, C, H, W), signals (B, C, L) or vectors (B, D)"
        )
    if targets is None:
        return as_input(inputs), None
    if not isinstance(targets, Tensor) or targets.ndim not in (1, 2) or len(targets) != len(inputs):
        raise WrongError("has targets that are no tensor (B,) or (B, T)")
    if targets.is_floating_point():
        return as_input(inputs), targets.float()
    if targets.ndim == 2 and targets.dtype != torch.bool:
        raise WrongError("has targets (B, T) of whole numbers: give classes (B,), bools of many labels, or floats")
    return as_input(inputs), targets if targets.ndim == 2 else targets.long()
