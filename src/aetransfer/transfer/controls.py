"""Encoders that kept the scale of what was learnt and lost the rest: what a reviewer asks to see beside a transfer.

Weights and biases alone are drawn, tensor by tensor; buffers (the input's statistics, those of a normalisation) stay.
"""

from collections.abc import Callable

import torch
from torch import Generator, Tensor, nn

from aetransfer.data.seeds import mixed_seed


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


def _redraw_(encoder: nn.Module, seed: int, draw: Callable[[Tensor, Generator], Tensor]) -> None:
    generator = Generator().manual_seed(mixed_seed("control", seed, 0))
    with torch.no_grad():
        for parameter in encoder.parameters():
            parameter.copy_(draw(parameter, generator).view_as(parameter))
