"""An encoder in anybody's program: loaded by path, with neither Hydra nor Lightning imported; and heads."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import nn

from aetransfer.config.instantiate import build
from aetransfer.config.schema import Head, HeadNode, Job
from aetransfer.data.loose import Preprocess
from aetransfer.errors import UserError
from aetransfer.networks.encoder import Encoder
from aetransfer.transfer.carry import carry
from aetransfer.transfer.exported import FLOATS, Preprocessing, check_there_is, read_description, read_state


def build_encoder(architecture: dict[str, Any], allow: Sequence[str]) -> Encoder:
    """Build an encoder with fresh weights.

    Raises UserError where `_target_` may not be called, is no Encoder, or does not list its layers as it should.
    """
    shape = tuple(architecture["input_shape"])
    keys = {key: value for key, value in architecture.items() if key != FLOATS}
    encoder = build({**keys, "input_shape": shape}, "encoder", allow)
    if not isinstance(encoder, Encoder):
        raise UserError(f"_target_: {architecture['_target_']} is no aetransfer.networks.encoder.Encoder: subclass it.")
    encoder.takes_pixels = len(shape) == 3 and not architecture.get(FLOATS, False)
    try:
        encoder.modules_of_layers()
    except ValueError as error:
        raise UserError(f"{architecture['_target_']}.layers_from_input: {error}.") from error
    return encoder


def load_encoder(path: str | Path, *, allow: Sequence[str] = ()) -> Encoder:
    """Load a trained encoder, on the CPU and in eval mode.

    path: a finished run's directory, its encoder.safetensors or one of its checkpoints. allow: packages, beside this
    one, that the encoder's class may come from (`["my_lab"]`).

    The module takes floats (N, *input_shape), which it normalises itself, and returns codes (N, latent_dim), of a VAE
    the posterior's mean; its method `features` returns what the bottleneck reads, (N, num_features). Inputs of another
    shape or dtype raise ValueError. Where `encoder.takes_pixels`, they are images of 8 bits divided by 255: values
    outside [0, 1] are not noticed. Other inputs, such as signals (N, C, L), vectors (N, D) or images (N, C, H, W) of
    more bits, are in the units of the training data.

    `encoder.preprocess(image)` makes an image (C, S, S) of a file or of what PIL.Image.open gave, as the training
    images were made; an encoder of anything but square pixel images, grey or in colour, has none.

    `encoder.untrained` names the parts that its training left as they began, mostly none. Where that is "bottleneck"
    (its pretext reads the features), codes are random projections of the features: what was learnt is `features`.

    Raises UserError for a file that is missing, damaged or of another program, or a class outside the allowed packages.
    """
    check_there_is(path)
    described = read_description(str(path))
    # The fresh weights are drawn only to be replaced: the caller's random numbers stay as they were.
    with torch.random.fork_rng(devices=[]):
        encoder = build_encoder(described.architecture, allow)
    carry(read_state(str(path)), encoder, path)
    encoder.untrained = described.untrained
    if described.takes_images:
        channels, *size = described.image
        stored = described.preprocessing or Preprocessing()
        encoder.preprocess = Preprocess(
            channels=channels,
            image_size=(size[0], size[1]),
            pad=stored.pad,
            reading=stored.reading,
            assumed=described.preprocessing is None,
        )
    return encoder.eval()


def make_head(job: Job, in_features: int, outputs: int) -> nn.Module:
    """Build the job's head. Raises UserError where it does not map codes (N, in_features) to (N, outputs)."""
    if job.head is None:
        raise UserError(f"model={job.model.name} needs the transfer and head groups, and the config lacks one.")
    head = build(job.head, "head", job.allow, in_features=in_features, outputs=outputs)
    if not isinstance(head, nn.Module):
        raise UserError(f"_target_: {job.head.target} is no torch.nn.Module: subclass it.")
    codes = torch.zeros(2, in_features)
    try:
        with torch.no_grad(), torch.random.fork_rng(devices=[]):
            given = head.eval()(codes)
    except (RuntimeError, TypeError, ValueError) as error:
        raise UserError(
            f"{job.head.target} can't read codes of (2, {in_features}) ({' '.join(str(error).split()).rstrip('.')})."
        ) from error
    if not isinstance(given, torch.Tensor) or given.shape != (2, outputs):
        what = f"a tensor of {tuple(given.shape)}" if isinstance(given, torch.Tensor) else type(given).__qualname__
        raise UserError(f"{job.head.target} gives {what} for 2 codes: give (2, {outputs}), as outputs={outputs} asks.")
    return head.train()


def outputs_of_head(head: HeadNode, content: dict[str, Any]) -> int:
    """Return how many numbers a run's head gives. Raises UserError for a head that is not of its config.

    content: of a checkpoint. Those of earlier versions don't say it, but are of our own heads, whose weights do.
    """
    said, state = content["hyper_parameters"].get("outputs"), content["state_dict"]
    if isinstance(head, Head):
        biases = [len(tensor) for name, tensor in state.items() if name.startswith("head.") and tensor.ndim == 1]
        if biases[:-1] != head.hidden or not biases or said not in (None, biases[-1]):
            raise UserError(f"The run's head is not the one of its config, head.hidden={head.hidden}: it is damaged.")
        return biases[-1]
    # Somebody else's checkpoint may ask for more numbers than memory holds; it has none to make them of.
    if not isinstance(said, int) or not 0 < said <= sum(tensor.numel() for tensor in state.values()):
        raise UserError(f"The run's checkpoint says that its head gives {said!r} numbers: it is damaged.")
    return said
