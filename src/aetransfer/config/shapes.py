"""What inputs of a shape are called, and their size in words. Nothing here imports torch."""

from collections.abc import Mapping, Sequence
from typing import Any

IMAGE = (1, 1, 1)
# By how many axes one input has.
NOUNS = {1: "vectors", 2: "signals", 3: "images"}


def noun_of(shape: Sequence[int]) -> str:
    """Say what inputs of this shape, without the axis of examples, are: images (C, H, W), signals (C, L), vectors."""
    return NOUNS.get(len(shape), "examples")


def shape_in(config: Mapping[str, Any]) -> tuple[int, ...]:
    """Return the shape of a stored run's inputs by its config, for words: some image's where it does not say it."""
    data = config.get("data")
    shape = data.get("shape") if isinstance(data, Mapping) else None
    return tuple(shape) if isinstance(shape, list | tuple) else IMAGE


def one_of(shape: Sequence[int]) -> str:
    """Say what one input of this shape is: image, signal, vector or example."""
    return noun_of(shape).removesuffix("s")


def a(shape: Sequence[int]) -> str:
    """Say the same with its article: an image."""
    one = one_of(shape)
    return f"{'an' if one[0] in 'aeiou' else 'a'} {one}"


def of_shape(shape: Sequence[int]) -> str:
    """Say how large inputs are: 32x32 images, signals of length 128, vectors of 30 numbers. Channels are left out."""
    match len(shape):
        case 1:
            return f"vectors of {shape[0]} numbers"
        case 2:
            return f"signals of length {shape[1]}"
        case 3:
            return f"{shape[1]}x{shape[2]} images"
    return f"inputs of {tuple(shape)}"


def with_channels(shape: Sequence[int]) -> str:
    """Say the same, and of how many channels."""
    return (
        f"{of_shape(shape)} in {shape[0]} channel{'s' if shape[0] > 1 else ''}" if len(shape) > 1 else of_shape(shape)
    )
