"""What models that reconstruct say of themselves, in the words of their inputs."""

from aetransfer.config.shapes import noun_of
from aetransfer.networks.encoder import Encoder


def learnt(encoder: Encoder) -> str:
    return f"An encoder and a decoder that learnt to reconstruct {noun_of(encoder.input_shape)}"


def caveat(encoder: Encoder) -> str:
    return (
        f"How well {noun_of(encoder.input_shape)} are reconstructed does not say how well the codes tell classes apart."
    )


def unit(encoder: Encoder) -> str:
    """Say what an error is of, in words that follow it."""
    return "of images in [0, 1]" if encoder.takes_pixels else "of standardised inputs"
