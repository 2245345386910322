"""Arms: how an encoder travels. Which of its layers start from what, which are trained, when and at which rate.

An arm of one's own subclasses `Arm` and overrides what it does otherwise. Layers are counted from the input on, the
bottleneck last: `Encoder.modules_of_layers`.
"""

import math
from collections.abc import Callable, Sequence
from typing import Any, Literal

import torch
from torch import Generator, Tensor, nn

from aetransfer.data.draws import mixed_seed
from aetransfer.errors import UserError
from aetransfer.networks.encoder import Encoder

# Controls first: encoders that kept their scale alone, or their first layers, which a reviewer asks to see. What is
# drawn is drawn tensor by tensor, of weights and biases alone: buffers (the input's statistics, those of a
# normalisation) stay. A part that the source left untrained comes here fresh, and is as random afterwards; a transplant
# leaves it as it was.


def shuffle_(encoder: nn.Module, seed: int) -> None:
    """Permute the entries of each weight and bias, in place."""
    _redraw_(encoder, seed, lambda values, drawn: values.flatten()[torch.randperm(values.numel(), generator=drawn)])


def keep_moments_(encoder: nn.Module, seed: int) -> None:
    """Draw each weight and bias anew from the normal distribution of its mean and variance, in place.

    Raghu et al. 2019 (Transfusion, section 4), "Mean Var".
    """
    _redraw_(
        encoder,
        seed,
        lambda values, drawn: values.mean() + values.std(correction=0) * torch.randn(values.numel(), generator=drawn),
    )


def transplant_(encoder: Encoder, fresh: Encoder, layers: int) -> None:
    """Keep the first `layers` of `layers_from_input` and take all that comes after them from `fresh`, in place.

    Buffers go with their layer; the input's statistics stay the carried ones. Yosinski et al. 2014, section 2. Raises
    UserError for more layers than there are.
    """
    own, others = encoder.modules_of_layers(), fresh.modules_of_layers()
    if layers > len(own):
        raise UserError(f"transfer.transplanted={layers}, but the encoder has {len(own)} layers: lower it.")
    with torch.no_grad():
        for replaced, drawn in zip(_own_tensors(own[layers:]), _own_tensors(others[layers:]), strict=True):
            replaced.copy_(drawn)


def _own_tensors(layers: list[list[nn.Module]]) -> list[Tensor]:
    modules = [module for layer in layers for module in layer]
    return [each for module in modules for each in (*module.parameters(recurse=False), *module.buffers(recurse=False))]


def _redraw_(encoder: nn.Module, seed: int, draw: Callable[[Tensor, Generator], Tensor]) -> None:
    generator = Generator().manual_seed(mixed_seed("control", seed, 0))
    with torch.no_grad():
        for parameter in encoder.parameters():
            parameter.copy_(draw(parameter, generator).view_as(parameter))


class Arm:
    """Carry all, and train all of it at the model's own rates.

    summary: what becomes of the encoder, as a sentence goes on with "whose encoder", for the run's page.
    """

    summary: str = ""

    def begin(self, encoder: Encoder, fresh: Encoder, seed: int) -> None:
        """Change the encoder that training begins with, in place: weights and buffers, never its modules.

        encoder: the carried one; of an arm that carries nothing like `fresh`. fresh: as a run from scratch with this
        seed begins. torch's global generator is seeded for this, and is as it was before afterwards.
        """

    def trains(self, layers: int, epoch: int, epochs: float) -> Sequence[bool]:
        """Tell of each layer whether it is trained in an epoch, from 0 on, of so many.

        A layer that is not gets no update, stays in eval mode and so keeps every buffer. A function of these arguments
        alone, so that a resume finds it.
        """
        return [True] * layers

    def rates(self, layers: int) -> Sequence[float]:
        """Return for each layer the factor of the encoder's learning rate. 0: it is never trained."""
        return [1.0] * layers


class StandardArm(Arm):
    """An arm of the program's: what its encoder starts from, and how it is trained."""

    def __init__(
        self,
        weights: Literal["fresh", "pretrained", "shuffled", "moments", "transplanted"],
        encoder: Literal["trained", "frozen", "gradual", "transplant_frozen"],
        layer_decay: float = 1.0,
        unfrozen_by: float = 0.5,
        transplanted: int | None = None,
    ) -> None:
        """layer_decay: each layer has the rate of the one above it times this (Clark et al. 2020, ELECTRA).

        unfrozen_by: the share of the epochs after which a gradual arm trains every layer. transplanted: how many layers
        are carried, from the input on.
        """
        self.weights, self.encoder = weights, encoder
        self.layer_decay, self.unfrozen_by, self.transplanted = layer_decay, unfrozen_by, transplanted or 0

    def begin(self, encoder: Encoder, fresh: Encoder, seed: int) -> None:
        match self.weights:
            case "shuffled":
                shuffle_(encoder, seed)
            case "moments":
                keep_moments_(encoder, seed)
            case "transplanted":
                transplant_(encoder, fresh, self.transplanted)

    def trains(self, layers: int, epoch: int, epochs: float) -> list[bool]:
        reached = layers if self.encoder != "gradual" else layers_reached(epoch, epochs, layers, self.unfrozen_by)
        return [place >= layers - reached for place in range(layers)]

    def rates(self, layers: int) -> list[float]:
        frozen = {"frozen": layers, "transplant_frozen": self.transplanted}.get(self.encoder, 0)
        return [0.0 if place < frozen else self.layer_decay ** (layers - place) for place in range(layers)]


def layers_reached(epoch: int, epochs: float, layers: int, unfrozen_by: float) -> int:
    """Count the layers, from the bottleneck down, that train in an epoch (from 0) of a gradual arm.

    They join evenly spaced; all of them train from epoch `unfrozen_by * epochs` on.
    """
    return sum(epoch >= unfrozen_by * epochs * place / layers for place in range(1, layers + 1))


def trained_layers(arm: Arm, layers: int, epoch: int, epochs: float) -> list[bool]:
    """Return what an arm trains in an epoch. Raises UserError where it does not say that of each layer."""
    given = arm.trains(layers, epoch, epochs)
    return _of_each(f"{_name(arm)}.trains", given, layers, lambda each: isinstance(each, bool), "True or False")


def rates_of(arm: Arm, layers: int) -> list[float]:
    """Return an arm's factors of the learning rate. Raises UserError where it does not say that of each layer."""
    return _of_each(f"{_name(arm)}.rates", arm.rates(layers), layers, _is_factor, "a number from 0 on")


def summary_of(arm: Arm) -> str:
    """Return what an arm says of itself. Raises UserError for what is no short sentence."""
    if not isinstance(arm.summary, str) or len(arm.summary) > 500:
        raise UserError(f"{_name(arm)}.summary is no text of at most 500 characters: shorten it.")
    return arm.summary


def _of_each(what: str, given: Any, layers: int, fits: Callable[[Any], bool], wanted: str) -> list[Any]:
    if not isinstance(given, list | tuple) or len(given) != layers or not all(map(fits, given)):
        raise UserError(f"{what} gives {given!r:.200} for {layers} layers: give a list with {wanted} for each.")
    return list(given)


def _is_factor(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value < math.inf


def _name(arm: Arm) -> str:
    return f"{type(arm).__module__}.{type(arm).__qualname__}"
