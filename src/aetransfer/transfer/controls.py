"""Encoders that kept their scale alone, or their first layers: what a reviewer asks to see beside a transfer.

What is drawn is drawn tensor by tensor, of weights and biases alone: buffers (the input's statistics, those of a
normalisation) stay. A part that the source left untrained comes here fresh, and is as random afterwards; a transplant
leaves it as it was drawn, in whatever layer it is.
"""

from collections.abc import Callable

import torch
from torch import Generator, Tensor, nn

from aetransfer.data.seeds import mixed_seed
from aetransfer.errors import UserError
from aetransfer.networks.encoder import Encoder


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
