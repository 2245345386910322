"""What inputs of a shape are called, and their size in words. Nothing here imports torch."""

from collections.abc import Sequence

# By how many axes one input has.
NOUNS = {1: "vectors", 2: "signals", 3: "images"}


def noun_of(shape: Sequence[int]) -> str:
    """Say what inputs of this shape, without the axis of examples, are: images (C, H, W), signals (C, L), vectors."""
    return NOUNS.get(len(shape), "examples")


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
