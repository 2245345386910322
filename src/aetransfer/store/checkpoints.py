"""Which of a run's checkpoints can be trusted. A checkpoint is a zip archive, and each of its parts has a CRC-32 there.

PyTorch writes these sums and does not look at them when it loads: flipped bits would be trained on.
"""

import logging
import pickle
import zipfile
import zlib
from pathlib import Path

from aetransfer.errors import UserError
from aetransfer.store.directory import RunDirectory

log = logging.getLogger(__name__)


class ContinuationError(UserError):
    """What a run has left can't be continued; rerun=true keeps it aside and begins afresh."""


def damage(checkpoint: Path) -> str | None:
    """Say what is wrong with a checkpoint's bytes, None where all of its parts have their sums and torch can read it.

    A file that holds more than weights is not damaged: whoever loads it refuses it.
    """
    import torch

    try:
        with zipfile.ZipFile(checkpoint) as archive:
            broken = archive.testzip()
        if broken is None:
            # Some bits of the archive's own only torch minds.
            torch.load(checkpoint, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError:
        return None
    except (zipfile.BadZipFile, zlib.error, OSError, ValueError, RuntimeError, NotImplementedError, EOFError) as error:
        return f"{error}".strip().partition("\n")[0].rstrip(".") or type(error).__name__
    return f"the checksum of {broken} is not that of its bytes" if broken else None


def to_resume_from(directory: RunDirectory) -> Path | None:
    """Return the newest whole checkpoint, None where there is none. Raises ContinuationError where all are damaged."""
    damaged = []
    for checkpoint in (directory.last, directory.previous):
        if not checkpoint.is_file():
            continue
        if (found := damage(checkpoint)) is None:
            return checkpoint
        log.warning("%s is damaged (%s): the checkpoint before it is used.", checkpoint, found)
        damaged.append(checkpoint.name)
    if damaged:
        raise ContinuationError(
            f"{' and '.join(damaged)} in {directory.checkpoints} are damaged: rerun=true begins {directory.path.name} "
            "afresh."
        )
    return None


def check_best(directory: RunDirectory) -> None:
    """Raise ContinuationError where the best epoch's weights are missing or damaged: nothing can be measured."""
    wrong = "does not exist"
    if directory.best.is_file():
        if (found := damage(directory.best)) is None:
            return
        wrong = f"is damaged ({found})"
    raise ContinuationError(f"{directory.best} {wrong}: rerun=true begins {directory.path.name} afresh.")
