"""The encoder that a transfer begins with."""

import copy

from torch import Tensor

from aetransfer.config.schema import Transfer
from aetransfer.networks.encoder import Encoder
from aetransfer.transfer.carry import carry
from aetransfer.transfer.controls import keep_moments_, shuffle_, transplant_


def begin_(encoder: Encoder, state: dict[str, Tensor], transfer: Transfer, seed: int) -> None:
    """Carry `state` into an encoder with fresh weights, in place, and take from it what the arm leaves out.

    Raises UserError for a state of another architecture, or more transplanted layers than there are.
    """
    fresh = copy.deepcopy(encoder)
    carry(state, encoder)
    match transfer.weights:
        case "shuffled":
            shuffle_(encoder, seed)
        case "moments":
            keep_moments_(encoder, seed)
        case "transplanted":
            assert transfer.transplanted is not None
            transplant_(encoder, fresh, transfer.transplanted)
