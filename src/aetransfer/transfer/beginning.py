"""The encoder that a transfer begins with."""

import copy
import logging

from aetransfer.config.schema import Transfer
from aetransfer.networks.encoder import Encoder
from aetransfer.transfer.carry import carry
from aetransfer.transfer.controls import keep_moments_, shuffle_, transplant_
from aetransfer.transfer.exported import read_description, read_state

log = logging.getLogger(__name__)


def begin_(encoder: Encoder, source: str, transfer: Transfer, seed: int) -> None:
    """Carry a source into an encoder with fresh weights, in place, and take from it what the arm leaves out.

    Parts that the source left untrained stay fresh. source: a run's directory, checkpoint or exported encoder. Raises
    UserError for one that is damaged or of another architecture, or more transplanted layers than there are.
    """
    fresh = copy.deepcopy(encoder)
    untrained = read_description(source).untrained
    carry(read_state(source), encoder, source, untrained)
    if untrained:
        log.info("%s starts fresh: %s did not train it.", ", ".join(untrained), source)
    strip_(encoder, fresh, transfer, seed)


def strip_(encoder: Encoder, fresh: Encoder, transfer: Transfer, seed: int) -> None:
    """Take from a carried encoder what the arm leaves out, in place. fresh: as it was before anything was carried."""
    match transfer.weights:
        case "shuffled":
            shuffle_(encoder, seed)
        case "moments":
            keep_moments_(encoder, seed)
        case "transplanted":
            assert transfer.transplanted is not None
            transplant_(encoder, fresh, transfer.transplanted)
