"""Noise that a step can draw again: a function of the step's place in training, not of what was drawn before."""

from typing import Literal

import torch

_STREAMS = {"train": 1, "val": 2, "test": 3, "sample": 4}


def step_generator(
    stream: Literal["train", "val", "test", "sample"], seed: int, step: int, device: torch.device
) -> torch.Generator:
    """Return a generator on `device` for one step. Evaluation passes the batch's number, training the global step."""
    key = (((_STREAMS[stream] << 24) + seed) << 32) + step
    return torch.Generator(device).manual_seed(key * 0x9E3779B97F4A7C15 % 2**63)
