"""The encoder that a transfer begins with."""

import copy
import logging
from collections.abc import Sequence
from typing import NamedTuple

import torch

from aetransfer.config.instantiate import build
from aetransfer.config.schema import GivenEncoder, TransferNode
from aetransfer.data.seeds import mixed_seed
from aetransfer.errors import UserError
from aetransfer.networks.encoder import Encoder
from aetransfer.transfer.arms import Arm
from aetransfer.transfer.carry import carry
from aetransfer.transfer.exported import read_description, read_state
from aetransfer.transfer.foreign import Taken, is_foreign, take_

log = logging.getLogger(__name__)


class Begun(NamedTuple):
    """untrained: parts of the encoder that the source left so, which stay fresh. taken: of others' weights."""

    untrained: tuple[str, ...] = ()
    taken: Taken | None = None


def make_arm(transfer: TransferNode, allow: Sequence[str]) -> Arm:
    """Build an arm. Raises UserError where the target is none, or refuses its keys."""
    arm = build(transfer, "arm", allow)
    if not isinstance(arm, Arm):
        raise UserError(f"_target_: {transfer.target} is no {Arm.__module__}.Arm: subclass it.")
    return arm


def begin_(encoder: Encoder, source: str | None, arm: Arm, seed: int, given: GivenEncoder | None = None) -> Begun:
    """Carry a source into an encoder with fresh weights, in place, and let the arm change what it changes.

    source: a run's directory, checkpoint or exported encoder, or others' weights, of which `given` says more; None
    where nothing is carried. Raises UserError for a source that is damaged or of another architecture, and for an arm
    that makes another network of it.
    """
    fresh = copy.deepcopy(encoder)
    begun = Begun() if source is None else _carried(encoder, source, given)
    before = _shapes(encoder)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(mixed_seed("control", seed, 1))
        arm.begin(encoder, fresh, seed)
    if _shapes(encoder) != before:
        raise UserError(
            f"{type(arm).__module__}.{type(arm).__qualname__}.begin changes the names, shapes or types of the "
            "encoder's tensors: change their values alone, in place."
        )
    return begun


def _carried(encoder: Encoder, source: str, given: GivenEncoder | None) -> Begun:
    if given is not None and is_foreign(source):
        taken = take_(encoder, given.model_copy(update={"path": source}))
        log.info(taken.sentence)
        return Begun(taken.fresh, taken)
    untrained = read_description(source).untrained
    carry(read_state(source), encoder, source, untrained)
    if untrained:
        log.info("%s starts fresh: %s did not train it.", ", ".join(untrained), source)
    return Begun(untrained)


def _shapes(encoder: Encoder) -> dict[str, tuple[torch.Size, torch.dtype]]:
    return {name: (tensor.shape, tensor.dtype) for name, tensor in encoder.state_dict().items()}
