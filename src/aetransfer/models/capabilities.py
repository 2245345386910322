"""What a model can do, whatever its class is: callbacks and measures ask for one of these and for no name.

A protocol has methods alone: that a module has a submodule can't be seen from its class.
"""

from typing import Protocol, runtime_checkable

import torch
from torch import Tensor

from aetransfer.config.shapes import noun_of
from aetransfer.models.facts import capabilities_in
from aetransfer.networks.encoder import Encoder


@runtime_checkable
class Reconstructs(Protocol):
    """Gives its inputs back, from their codes."""

    def reconstruct(self, inputs: Tensor) -> Tensor:
        """Map (N, *shape) to its reconstruction, of the same shape and range."""

    def decode(self, codes: Tensor) -> Tensor:
        """Map codes (N, latent_dim) to inputs (N, *shape)."""


@runtime_checkable
class Samples(Protocol):
    """Draws inputs from what it has learnt."""

    def sample(self, count: int, generator: torch.Generator) -> Tensor:
        """Draw (count, *shape)."""


@runtime_checkable
class HasPosterior(Reconstructs, Protocol):
    """Gives a distribution over codes, q(z | x), beside a prior N(0, I) and a likelihood; its code is q's mean."""

    def observe(self, inputs: Tensor, generator: torch.Generator) -> Tensor:
        """Return what the likelihood models, and what the encoder sees, for inputs (N, *shape)."""

    def posterior(self, inputs: Tensor) -> tuple[Tensor, Tensor]:
        """Return mean and log-variance of q(z | x), (N, latent_dim) each, for what was observed."""

    def nll(self, codes: Tensor, observed: Tensor, margin: int) -> Tensor:
        """Return -log p(observed | code) of each, (N,), in nats. margin: pixels of padding, which don't count."""


@runtime_checkable
class Classifies(Protocol):
    """Tells classes apart."""

    def probabilities(self, inputs: Tensor) -> Tensor:
        """Return (N, classes), rows that sum to one."""

    def __call__(self, inputs: Tensor) -> Tensor:
        """Return logits (N, classes)."""


@runtime_checkable
class Regresses(Protocol):
    """Predicts values."""

    def values(self, inputs: Tensor) -> Tensor:
        """Return (N, T), in the targets' units."""


@runtime_checkable
class TellsLabels(Protocol):
    """Tells which of several labels are there."""

    def label_probabilities(self, inputs: Tensor) -> Tensor:
        """Return (N, T), in [0, 1] each."""


def capabilities_of(model: object) -> list[str]:
    """Say what a model can do, in the words that `ModelFacts.can` and `aetransfer.config.instantiate.NEEDS` use."""
    return capabilities_in(dir(type(model)))


# What models that reconstruct say of themselves, in the words of their inputs.
def learnt(encoder: Encoder) -> str:
    return f"An encoder and a decoder that learnt to reconstruct {noun_of(encoder.input_shape)}"


def caveat(encoder: Encoder) -> str:
    return (
        f"How well {noun_of(encoder.input_shape)} are reconstructed does not say how well the codes tell classes apart."
    )


def unit(encoder: Encoder) -> str:
    """Say what an error is of, in words that follow it."""
    return "of images in [0, 1]" if encoder.takes_pixels else "of standardised inputs"
