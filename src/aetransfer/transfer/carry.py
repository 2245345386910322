"""What a transfer, or a pretraining that continues another, starts from: the source's weights, fitted to the target's
number of channels.
"""

import copy
import logging
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor, nn

from aetransfer.config.instantiate import build
from aetransfer.config.schema import GivenEncoder, TransferNode
from aetransfer.data.draws import mixed_seed
from aetransfer.errors import UserError
from aetransfer.networks.encoder import Encoder
from aetransfer.networks.mlp import MLP
from aetransfer.transfer.arms import Arm
from aetransfer.transfer.exported import read_checkpoint, read_description, read_state, whole_model
from aetransfer.transfer.foreign import Taken, is_foreign, take_

log = logging.getLogger(__name__)


def carry(state: dict[str, Tensor], encoder: Encoder, source: str | Path, untrained: Sequence[str] = ()) -> None:
    """Load every tensor of a source encoder into `encoder`, inflating an input of 1 channel to the encoder's number.

    source: where the state was read. untrained: submodules of `encoder` that stay as they are. Raises UserError naming
    the source and each tensor that one of the two lacks or that has another shape.
    """
    channels = len(state["normalise.mean"]) if "normalise.mean" in state else None
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


class Initial(NamedTuple):
    """An encoder's initial weights. untrained: parts that the source left so, which are fresh. taken: of others'
    weights.
    """

    untrained: tuple[str, ...] = ()
    taken: Taken | None = None


def make_arm(transfer: TransferNode, allow: Sequence[str]) -> Arm:
    """Build an arm. Raises UserError where the target is none, or refuses its keys."""
    arm = build(transfer, "arm", allow)
    if not isinstance(arm, Arm):
        raise UserError(f"_target_: {transfer.target} is no {Arm.__module__}.Arm: subclass it.")
    return arm


def initialise_(
    encoder: Encoder, source: str | None, arm: Arm, seed: int, given: GivenEncoder | None = None
) -> Initial:
    """Carry a source into an encoder with fresh weights, in place, and let the arm change what it changes.

    source: a run's directory, checkpoint or exported encoder, or others' weights, of which `given` says more; None
    where nothing is carried. Raises UserError for a source that is damaged or of another architecture, and for an arm
    that makes another network of it.
    """
    fresh = copy.deepcopy(encoder)
    initial = Initial() if source is None else carry_(encoder, source, given)
    before = _shapes(encoder)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(mixed_seed("control", seed, 1))
        arm.begin(encoder, fresh, seed)
    if _shapes(encoder) != before:
        raise UserError(
            f"{type(arm).__module__}.{type(arm).__qualname__}.begin changes the names, shapes or types of the "
            "encoder's tensors: change their values alone, in place."
        )
    return initial


def carry_(encoder: Encoder, source: str, given: GivenEncoder | None = None) -> Initial:
    """Carry a source into an encoder with fresh weights, in place; parts that it left untrained stay fresh.

    given: what is said of others' weights. Raises UserError for a source that is damaged or of another architecture.
    """
    if given is not None and is_foreign(source):
        taken = take_(encoder, given.model_copy(update={"path": source}))
        log.info(taken.sentence)
        return Initial(taken.fresh, taken)
    untrained = read_description(source).untrained
    carry(read_state(source), encoder, source, untrained)
    if untrained:
        log.info("%s starts fresh: %s did not train it.", ", ".join(untrained), source)
    return Initial(untrained)


def continue_(model: nn.Module, source: str, initial: Initial) -> str:
    """Load what a source's checkpoint has of a model beside its encoder, in place, and say what was taken.

    A part (decoder, projection, ...) is taken as a whole, where all of its tensors are there by name and shape.
    initial: how the encoder began. Raises UserError for a damaged checkpoint.
    """
    file = whole_model(source) if initial.taken is None else None
    theirs = {} if file is None else read_checkpoint(file)["state_dict"]
    parts: dict[str, dict[str, Tensor]] = {}
    for key, value in model.state_dict().items():
        parts.setdefault(key.partition(".")[0], {})[key] = value
    del parts["encoder"]
    taken = [
        name
        for name, own in parts.items()
        if all(key in theirs and theirs[key].shape == value.shape for key, value in own.items())
    ]
    model.load_state_dict({key: theirs[key] for name in taken for key in parts[name]}, strict=False)
    drawn = [*(f"encoder.{part}" for part in initial.untrained), *(name for name in parts if name not in taken)]
    return f"{', '.join(['encoder', *taken])} as trained there" + (f"; fresh: {', '.join(drawn)}" if drawn else "")


def _shapes(encoder: Encoder) -> dict[str, tuple[torch.Size, torch.dtype]]:
    return {name: (tensor.shape, tensor.dtype) for name, tensor in encoder.state_dict().items()}
