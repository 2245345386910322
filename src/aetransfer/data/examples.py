"""The one form in which every reader hands over a data set."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor

from aetransfer.data.reading import Reading
from aetransfer.data.targets import Targets
from aetransfer.errors import UserError
from aetransfer.printable import in_utf8

Split = Literal["train", "test"]

# ITU-R BT.601 luma, the weights of Pillow's and torchvision's grey conversion.
LUMA = (0.299, 0.587, 0.114)


@dataclass(frozen=True)
class Examples:
    """A split, undecorated: no normalisation, no padding, no augmentation.

    inputs: (N, *shape), N of 1 or more: uint8 images (N, C, H, W), or finite float32 arrays; may be a memory map.
    targets: (N,) int64 classes in [0, len(names)); float32 values (N,) or (N, T) in units of their own; bool (N, T) of
    many labels, each there or not; None where there are none. names: of the classes, of the T values or labels, in
    UTF-8, whatever the names of folders are, for they are written into many a file. groups: (N,) int64, what belongs
    together, such as the images of one patient, by one numbering in all splits; None where each stands for itself.
    grouped_by: what a group is, in a word, such as `subject`. reading: how files became these bytes, of a reader that
    decodes image files; an encoder that is trained on them reads the images it is shown later likewise. notes: what is
    left out and why, and what else a reader of the results must know of the data, a sentence each.

    Of the training split alone: validation, the positions (V,) int64 of the data's own validation examples among these,
    None to have the program cut some out; has_test, whether there is a test split.

    Raises UserError, which says what is wrong, for anything else.
    """

    inputs: Tensor
    targets: Tensor | None = None
    groups: Tensor | None = None
    names: tuple[str, ...] = ()
    grouped_by: str = "group"
    reading: Reading | None = None
    notes: tuple[str, ...] = ()
    validation: Tensor | None = None
    has_test: bool = True

    def __post_init__(self) -> None:
        if isinstance(self.names, list):
            object.__setattr__(self, "names", tuple(self.names))
        if wrong := next(self._complaints(), None):
            raise UserError(f"A reader's {wrong}.")
        # The names of folders may be of no encoding.
        object.__setattr__(self, "names", tuple(in_utf8(name) for name in self.names))

    def _complaints(self) -> Iterator[str]:
        """Yield what is wrong; each takes for granted that what comes before it is right."""
        inputs: Any = self.inputs
        if not isinstance(inputs, Tensor):
            yield f"inputs are {_kind(inputs)}: give a torch tensor, torch.from_numpy(array) of an array"
        count, shape = len(inputs), tuple(inputs.shape)
        if inputs.dtype not in (torch.uint8, torch.float32):
            yield f"inputs are {inputs.dtype}: give torch.uint8, images of 0 to 255, or torch.float32"
        if inputs.ndim < 2:
            yield f"inputs are {shape}: give (N, ...), one after another"
        if not inputs.numel():
            yield f"inputs are {shape}: give one example at least"
        yield from _not_finite("inputs", inputs)
        if self.targets is not None:
            yield from self._about_targets(self.targets, count)
        names: Any = self.names
        if not isinstance(names, tuple) or not all(isinstance(name, str) for name in names):
            yield f"names are {names!r:.80}: give a tuple of strings, empty where there are no targets"
        if len(set(names)) < len(names):
            twice = next(name for name in names if names.count(name) > 1)
            yield f"names have {twice!r} twice: give each a name of its own"
        yield from self._about_names()
        groups: Any = self.groups
        if groups is not None and not (_is_whole(groups) and tuple(groups.shape) == (count,)):
            yield f"groups are no tensor ({count},) of torch.int64: give each input the number of its group"
        validation: Any = self.validation
        if validation is None:
            return
        if not _is_whole(validation) or validation.ndim != 1:
            yield "validation is no tensor (V,) of torch.int64: give the positions of these examples"
        if len(validation.unique()) != len(validation):
            yield "validation has positions twice: give each once"
        if not 0 < len(validation) < count or validation.min() < 0 or validation.max() >= count:
            yield (
                f"validation should be some of its {count} training examples, but not all: its {len(validation)} "
                "positions are not among them or leave none to train on"
            )

    @staticmethod
    def _about_targets(targets: Any, count: int) -> Iterator[str]:
        if not isinstance(targets, Tensor):
            yield f"targets are {_kind(targets)}: give a torch tensor, torch.tensor(targets) of a list"
        shape = tuple(targets.shape)
        if targets.dtype not in (torch.int64, torch.float32, torch.bool):
            yield (
                f"targets are {targets.dtype}: give torch.int64, targets.long(), of classes, torch.float32 of values, "
                "or torch.bool of many labels"
            )
        if targets.dtype == torch.int64 and shape != (count,):
            yield f"targets are {shape} for {count} inputs: give one class for each, ({count},)"
        if targets.dtype == torch.bool and len(shape) != 2:
            yield f"targets are {shape} of torch.bool: give ({count}, T), whether each of T labels is there"
        if len(shape) not in (1, 2) or len(targets) != count or not targets.numel():
            yield f"targets are {shape} for {count} inputs: give values for each, ({count},) or ({count}, T)"
        yield from _not_finite("targets", targets)

    def _about_names(self) -> Iterator[str]:
        """Yield where names are not those of the targets."""
        names, targets = self.names, self.targets
        if targets is None:
            if names:
                yield f"names are {names!r:.80}, but it has no targets: give targets, or no names"
        elif targets.dtype == torch.int64:
            has = f"targets go from {(low := int(targets.min()))} to {(high := int(targets.max()))}, but it has"
            if not names:
                yield f"{has} no names: name the classes, or give no targets"
            if low < 0 or high >= len(names):
                yield f"{has} {len(names)} names: give 0 to {len(names) - 1}"
        elif len(names) not in (0, width := targets.reshape(len(self), -1).shape[1]):
            what = "values" if targets.is_floating_point() else "labels"
            yield f"targets have {width} {what} each, but it has {len(names)} names: give one for each"

    def __len__(self) -> int:
        return len(self.inputs)

    @property
    def learnt(self) -> Targets:
        """What there is to learn; values and labels without a name are called by their numbers."""
        if self.targets is None:
            return Targets()
        if self.targets.dtype == torch.int64:
            return Targets("classes", self.names)
        names = self.names or tuple(map(str, range(self.targets[0].numel())))
        return Targets("values" if self.targets.is_floating_point() else "labels", names)

    @property
    def labels(self) -> Tensor:
        """What a batch has as targets: classes (N,) int64, all 0 where there are none; else (N, T) float32."""
        if self.targets is None:
            return torch.zeros(len(self), dtype=torch.int64)
        if self.targets.dtype == torch.int64:
            return self.targets
        return self.targets.float().reshape(len(self), -1)


def _not_finite(what: str, values: Tensor) -> Iterator[str]:
    # In parts, for a memory map may be larger than the memory.
    if values.is_floating_point() and not all(bool(part.isfinite().all()) for part in values.split(1024)):
        yield f"{what} have NaN or infinite values: leave those examples out, or put numbers in their place"


def _is_whole(values: Any) -> bool:
    return isinstance(values, Tensor) and values.dtype == torch.int64


def _kind(value: Any) -> str:
    return f"{type(value).__module__}.{type(value).__qualname__}".removeprefix("builtins.")


def sameness(inputs: Tensor, rows: Tensor, noun: str = "images") -> str | None:
    """Say in which way the inputs at `rows` (M,) int64 hold nothing to learn, None where they differ.

    inputs: (N, *shape), of which the first axis of the shape is the channels. noun: what they are. Of a usual set a few
    hundred are looked at.
    """
    first = inputs[rows[0]]
    same, flat = len(rows) > 1, inputs.ndim > 2
    for part in rows.split(256):
        chosen = inputs[part]
        same = same and bool((chosen == first).all())
        flat = flat and bool((chosen.flatten(2) == chosen.flatten(2)[..., :1]).all())
        if not same and not flat:
            return None
    if same:
        return f"All {len(rows):,} training {noun} are the same{', and of one value' if flat else ''}"
    return f"Each of the {len(rows):,} training {noun} is of one value"


def to_channels(images: Tensor, channels: int) -> Tensor:
    """Convert (N, 1 or 3, H, W) uint8 images to `channels`: grey is repeated, colour becomes luma.

    Inputs that have as many channels stay as they are.
    """
    present = images.shape[1]
    if present == channels:
        return images
    if present == 1:
        return images.expand(-1, channels, -1, -1)
    weights = torch.tensor(LUMA, device=images.device).view(1, 3, 1, 1)
    return (images * weights).sum(1, keepdim=True).round_().to(torch.uint8)
