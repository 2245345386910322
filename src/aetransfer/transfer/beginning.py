"""The encoder that a transfer begins with."""

import copy
import logging
from collections.abc import Sequence

import torch

from aetransfer.config.instantiate import build
from aetransfer.config.schema import TransferNode
from aetransfer.data.seeds import mixed_seed
from aetransfer.errors import UserError
from aetransfer.networks.encoder import Encoder
from aetransfer.transfer.arms import Arm
from aetransfer.transfer.carry import carry
from aetransfer.transfer.exported import read_description, read_state

log = logging.getLogger(__name__)


def make_arm(transfer: TransferNode, allow: Sequence[str]) -> Arm:
    """Build an arm. Raises UserError where the target is none, or refuses its keys."""
    arm = build(transfer, "arm", allow)
    if not isinstance(arm, Arm):
        raise UserError(f"_target_: {transfer.target} is no {Arm.__module__}.Arm: subclass it.")
    return arm


def begin_(encoder: Encoder, source: str | None, arm: Arm, seed: int) -> tuple[str, ...]:
    """Carry a source into an encoder with fresh weights, in place, and let the arm change what it changes.

    source: a run's directory, checkpoint or exported encoder; None where nothing is carried. Returns the parts that
    the source left untrained, which stay fresh. Raises UserError for a source that is damaged or of another
    architecture, and for an arm that makes another network of it.
    """
    fresh = copy.deepcopy(encoder)
    untrained: tuple[str, ...] = ()
    if source is not None:
        untrained = read_description(source).untrained
        carry(read_state(source), encoder, source, untrained)
        if untrained:
            log.info("%s starts fresh: %s did not train it.", ", ".join(untrained), source)
    before = _shapes(encoder)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(mixed_seed("control", seed, 1))
        arm.begin(encoder, fresh, seed)
    if _shapes(encoder) != before:
        raise UserError(
            f"{type(arm).__module__}.{type(arm).__qualname__}.begin changes the names, shapes or types of the "
            "encoder's tensors: change their values alone, in place."
        )
    return untrained


def _shapes(encoder: Encoder) -> dict[str, tuple[torch.Size, torch.dtype]]:
    return {name: (tensor.shape, tensor.dtype) for name, tensor in encoder.state_dict().items()}
