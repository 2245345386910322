"""How a reader is called, whatever kind it is of: a function, a Dataset, or a LightningDataModule of somebody's."""

import inspect
from collections.abc import Callable
from typing import Any

from torch.utils.data import Dataset

from aetransfer.data.dataset import examples_of
from aetransfer.data.examples import Examples, Split
from aetransfer.errors import UserError


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
        # It imports Lightning, which takes a second.
        from aetransfer.data.own_module import examples_of_module

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
