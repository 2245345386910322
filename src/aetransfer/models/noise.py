"""Noise that a step can draw again: a function of the step's place in training, not of what was drawn before."""

import torch

from aetransfer.data.seeds import Stream, mixed_seed


def step_generator(stream: Stream, seed: int, step: int, device: torch.device) -> torch.Generator:
    """Return a generator on `device` for one step: the number of its batch, which training counts on over epochs."""
    return torch.Generator(device).manual_seed(mixed_seed(stream, seed, step))
