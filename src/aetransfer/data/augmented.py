"""What augmentations make of a batch: in their order, each with its own numbers.

Numbers are drawn for the whole batch or the whole epoch. A library's transform draws its own, from the generators of
torch, NumPy or Python: these are seeded for each batch, and put back behind it.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from aetransfer.data.augmentation import Augmentation, Crop, Flip
from aetransfer.data.draws import Draws, mixed_seed, seed_all
from aetransfer.data.float_augmentation import Standardised
from aetransfer.data.mixing import Mix
from aetransfer.errors import UserError

# The second kind is a library's.
Transform = Augmentation | Callable[[Tensor], Tensor]


def numbers_of(transforms: Sequence[Transform]) -> list[int]:
    """Return how many numbers each transform needs for an example."""
    return [each.numbers if isinstance(each, Augmentation) else 0 for each in transforms]


def is_foreign(transforms: Sequence[Transform]) -> bool:
    """Tell whether one of them draws for itself."""
    return any(not isinstance(each, Augmentation) for each in transforms)


def augmented(
    inputs: Tensor, transforms: Sequence[Transform], drawn: Tensor, seed: int = 0, looks: bool = True
) -> Tensor:
    """Apply transforms in order to inputs (B, *shape).

    drawn: (B, sum of numbers_of(transforms)), on the CPU. seed: what a library's transforms draw with. looks: also on a
    GPU for NaN, which waits for all its queued work. Raises UserError for a transform that gives anything else than
    inputs of the same shape and dtype.
    """
    columns = drawn.split(numbers_of(transforms), 1)
    with torch.no_grad(), _seeded(seed, inputs.device) if is_foreign(transforms) else nullcontext():
        for transform, own in zip(transforms, columns, strict=True):
            shape, dtype = inputs.shape, inputs.dtype
            inputs = transform(inputs, own) if isinstance(transform, Augmentation) else transform(inputs)
            _check(transform, inputs, shape, dtype, looks or drawn.device == inputs.device)
    return inputs


def view_of(inputs: Tensor, transforms: Sequence[Transform], draws: Draws) -> Tensor:
    """Return a view of each input of a batch; the next call draws others."""
    whole = torch.rand((draws.share.whole, sum(numbers_of(transforms))), generator=draws.on_cpu)
    seed = int(torch.randint(2**31, (), generator=draws.on_cpu)) + draws.share.rank if is_foreign(transforms) else 0
    return augmented(inputs, transforms, draws.share.part(whole), seed, looks=False)


@contextmanager
def _seeded(seed: int, device: torch.device) -> Iterator[None]:
    # A program that only loads an encoder comes by here, and Lightning takes seconds to import.
    from pytorch_lightning.utilities.seed import isolate_rng

    with isolate_rng(include_cuda=device.type == "cuda"):
        seed_all(seed)
        yield


def _check(transform: Transform, given: Any, shape: torch.Size, dtype: torch.dtype, looks: bool) -> None:
    if not isinstance(given, Tensor) or given.shape != shape or given.dtype != dtype:
        what = f"{tuple(given.shape)} of {given.dtype}" if isinstance(given, Tensor) else type(given).__name__
        raise UserError(
            f"{named(transform)} gives {what} for inputs {tuple(shape)} of {dtype}: an augmentation keeps shape and "
            "dtype."
        )
    if looks and not bool(given.isfinite().all()):
        raise UserError(f"{named(transform)} gives NaN or infinite values for finite inputs: correct it.")


def named(transform: object) -> str:
    kind = transform if isinstance(transform, type) else type(transform)
    return f"{kind.__module__}.{kind.__qualname__}"


@dataclass(frozen=True)
class Augment:
    """What `data.augment` names: zero padding by `crop_padding` pixels and a random crop, a flip with probability 1/2,
    both as images are gathered (see `aetransfer.data.batches`); then the other transforms; last, what mixes examples.
    """

    crop_padding: int = 0
    flip: bool = False
    transforms: tuple[Transform, ...] = ()
    mix: Mix | None = None

    @classmethod
    def of(cls, transforms: Sequence[Any]) -> "Augment":
        """Sort transforms by who does them. Raises UserError for what is no transform, or mixes and is not the last."""
        rest, crop_padding, flip = list(transforms), 0, False
        while rest:
            if type(rest[0]) is Crop and not crop_padding:
                crop_padding = rest[0].padding
            elif type(rest[0]) is Flip and rest[0].share == 0.5 and not flip:
                flip = True
            else:
                break
            rest.pop(0)
        mix = rest.pop() if rest and isinstance(rest[-1], Mix) else None
        for transform in rest:
            if isinstance(transform, Mix):
                raise UserError(f"{named(transform)} mixes examples, which comes last, and once.")
            if not callable(transform):
                raise UserError(f"{named(transform)} is no augmentation: it can't be called on a batch.")
        return cls(crop_padding, flip, tuple(rest), mix)

    def drawn(self, examples: int, seed: int, epoch: int) -> tuple[Tensor | None, Tensor | None]:
        """Draw an epoch's numbers on the CPU: (examples, D) of the transforms and of `mix`, and (examples,), in whose
        order the examples of a batch are mixed. None where none are needed.
        """
        if not self.transforms and self.mix is None:
            return None, None
        numbers = self._unmixed + (0 if self.mix is None else self.mix.numbers + 1)
        generator = torch.Generator().manual_seed(mixed_seed("augment", seed, epoch))
        drawn = torch.rand((examples, numbers), generator=generator)
        return (drawn, None) if self.mix is None else (drawn[:, :-1], drawn[:, -1])

    def changed(self, inputs: Tensor, drawn: Tensor, seed: int, looks: bool) -> Tensor:
        """Return the inputs (B, *shape) as the transforms leave them, unmixed, as `augmented` does. drawn: (B, N)."""
        return augmented(inputs, self.transforms, drawn[:, : self._unmixed], seed, looks)

    def mixed(self, inputs: Tensor, partners: Tensor, drawn: Tensor) -> tuple[Tensor, Tensor]:
        """Return mixed inputs, and the share of each example's own target (B,). drawn: (B, N)."""
        assert self.mix is not None
        return self.mix(inputs, partners, drawn[:, self._unmixed :])

    @property
    def needs_statistics(self) -> bool:
        """Whether one of them has to know the training data's statistics."""
        return any(isinstance(each, Standardised) for each in self.transforms)

    @property
    def _unmixed(self) -> int:
        return sum(numbers_of(self.transforms))

    def to(self, device: torch.device) -> None:
        """Move what a library's transforms hold."""
        for transform in self.transforms:
            if isinstance(transform, nn.Module):
                transform.to(device)
