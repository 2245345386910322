"""An encoder in anybody's program: loaded by path, with neither Hydra nor Lightning imported."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from aetransfer.config.instantiate import build
from aetransfer.data.loose import Preprocess
from aetransfer.errors import UserError
from aetransfer.networks.encoder import Encoder
from aetransfer.transfer.carry import carry
from aetransfer.transfer.exported import FLOATS, check_there_is, read_description, read_state
from aetransfer.transfer.preprocessing import Preprocessing


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
