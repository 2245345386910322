"""Setting an encoder's weights: exactly the source's, fitted to the target's number of channels."""

from collections.abc import Sequence
from pathlib import Path

from torch import Tensor, nn

from aetransfer.errors import UserError
from aetransfer.networks.encoder import Encoder
from aetransfer.networks.mlp import MLP


def carry(state: dict[str, Tensor], encoder: Encoder, source: str | Path, untrained: Sequence[str] = ()) -> None:
    """Load every tensor of a source encoder into `encoder`, inflating an input of 1 channel to the encoder's number.

    source: where the state was read. untrained: submodules of `encoder` that stay as they are. Raises UserError naming
    the source and each tensor that one of the two lacks or that has another shape.
    """
    channels = _channels(state)
    if channels not in (1, encoder.input_shape[0], None):
        raise UserError(
            f"The encoder in {source} takes {channels} channels, and {encoder.input_shape[0]} are asked for: only one "
            "channel is inflated to several."
        )
    fitted = _inflated(state, encoder) if channels != encoder.input_shape[0] else state
    own = encoder.state_dict()
    complaints = [f"{key} is missing" for key in own if key not in fitted]
    complaints += [f"{key} is not in the encoder" for key in fitted if key not in own]
    complaints += [
        f"{key} is {tuple(fitted[key].shape)} instead of {tuple(own[key].shape)}"
        for key in own
        if key in fitted and fitted[key].shape != own[key].shape
    ]
    if complaints:
        raise UserError(f"The encoder in {source} is of another architecture: {'; '.join(complaints)}.")
    fresh = {key: own[key] for key in own if key.startswith(tuple(f"{part}." for part in untrained))}
    encoder.load_state_dict(fitted | fresh)


def _channels(state: dict[str, Tensor]) -> int | None:
    mean = state.get("normalise.mean")
    return None if mean is None else len(mean)


def _inflated(state: dict[str, Tensor], encoder: Encoder) -> dict[str, Tensor]:
    """Repeat what reads the input over the channels; dividing by their number leaves the response to equal ones as it
    was, such as to a grey image.

    I3D's inflation (Carreira & Zisserman 2017, section 2.4), over colour instead of time.
    """
    layers = encoder.named_modules()
    first = next((name for name, layer in layers if isinstance(layer, nn.Conv1d | nn.Conv2d)), None)
    if isinstance(encoder, MLP):
        # In its flattened input the channels come first, as in a kernel; how others flatten theirs, nobody knows.
        first = "dense.0" if encoder.hidden else "bottleneck"
    if first is None:
        raise UserError(
            "transfer.channels=inflate needs an encoder that begins with a convolution, or encoder=mlp: choose grey, "
            "or data of as many channels."
        )
    channels = encoder.input_shape[0]
    fitted = dict(state)
    for key in ("normalise.mean", "normalise.deviation"):
        if key in state:
            fitted[key] = state[key].repeat(channels, *[1] * (state[key].ndim - 1))
    kernel = f"{first}.weight"
    if kernel in state:
        kernels = state[kernel]
        fitted[kernel] = kernels.repeat(1, channels, *[1] * (kernels.ndim - 2)) / channels
    return fitted
