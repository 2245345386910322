"""One seed for torch's generators out of what is drawn for, the run's seed, and how far it has come."""

from typing import Literal

Stream = Literal[
    "order", "train", "val", "test", "sample", "control", "importance", "measure", "views", "augment", "library"
]
STREAMS: tuple[Stream, ...] = (
    "order",
    "train",
    "val",
    "test",
    "sample",
    "control",
    "importance",
    "measure",
    "views",
    "augment",
    "library",
)


def mixed_seed(stream: Stream, seed: int, step: int) -> int:
    """Spread the three over 32 bits, all that torch's CPU generator uses of a seed (splitmix64's odd constants)."""
    high, low = divmod((STREAMS.index(stream) << 44) + (seed << 20) + step, 2**32)
    return (low * 0x9E3779B97F4A7C15 ^ high * 0xBF58476D1CE4E5B9) % 2**32
