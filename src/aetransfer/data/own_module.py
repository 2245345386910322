"""Somebody's LightningDataModule, read through its loaders: one pass through each, as `Examples`."""

import random
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import torch
from pytorch_lightning.utilities.seed import isolate_rng
from torch import Tensor

from aetransfer.data.dataset import WrongError, as_input, names_of
from aetransfer.data.examples import Examples, Split
from aetransfer.errors import UserError

# What the pass draws with, whatever the seed of the run.
SEED = 0
LIGHTNINGS = ("pytorch_lightning.", "lightning.")
NOT_CALLED = ("on_before_batch_transfer", "transfer_batch_to_device", "on_after_batch_transfer")

Batch = tuple[Tensor, Tensor | None]  # inputs (B, *shape) and targets (B, ...), as `Examples` has them


def examples_of_module(module: Any, split: Split) -> Examples:
    """Set a module up and read what its loaders give: with split train the validation images behind those to train on.

    Training images are those of one pass with a seed of its own, whatever the loader draws. Raises UserError for
    loaders or batches of other kinds, and for what this program would not call.
    """
    name = type(module).__name__
    for hook in NOT_CALLED:
        if _defines(module, hook):
            raise UserError(f"{name} defines {hook}, which is not called here: let its data set do what that does.")
    with isolate_rng():
        seed_all(SEED)
        module.prepare_data()
        if split == "test":
            module.setup("test")
            images, targets = _read(name, "test", module.test_dataloader)
            return Examples(images, targets, names=names_of(module, targets))
        if not _defines(module, "val_dataloader"):
            raise UserError(f"{name} has no val_dataloader, which the best epoch is chosen by: give it one.")
        module.setup("fit")
        images, targets = _read(name, "train", module.train_dataloader)
        if not torch.equal(images[: len(first := _first(name, module))], first):
            raise UserError(
                f"{name} gives other training images for the same seed, so that no run could be found again: let it "
                "draw from the generators of torch, NumPy or Python, and not seed them itself."
            )
        val_images, val_targets = _read(name, "val", module.val_dataloader)
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


def seed_all(seed: int) -> None:
    """Seed the generators that somebody's loaders may draw from."""
    torch.manual_seed(seed)
    np.random.seed(seed)
    random.seed(seed)


def _defines(module: Any, method: str) -> bool:
    return not getattr(type(module), method).__module__.startswith(LIGHTNINGS)


def _read(name: str, part: str, loader_of: Callable[[], Any]) -> Batch:
    """Return all that a loader gives in one pass."""
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


def _first(name: str, module: Any) -> Tensor:
    seed_all(SEED)
    return next(batches_of(name, module.train_dataloader()))[0]


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
