"""Callbacks that only look: they change no number of a run, so a run with one and a run without it are the same run."""

from typing import Any

OURS = "aetransfer.callbacks."
LIGHTNINGS = "pytorch_lightning.callbacks."
# Of Lightning's those that log, print, draw progress, or write weights elsewhere. The others stop, save batches from
# failing, freeze, prune, average or schedule. Timer may stop a training, and LambdaCallback does whatever it is given.
LIGHTNINGS_LOOK = (
    "DeviceStatsMonitor",
    "LearningRateMonitor",
    "ModelCheckpoint",
    "ModelSummary",
    "OnExceptionCheckpoint",
    "RichModelSummary",
    "RichProgressBar",
    "ThroughputMonitor",
    "TQDMProgressBar",
)


def only_looks(target: str, said: Any = None) -> bool:
    """Tell whether a callback's `_target_` only looks. said: what its node says of that, None for nothing."""
    if said is not None:
        return said is True
    known = target.startswith(LIGHTNINGS) and target.rpartition(".")[2] in LIGHTNINGS_LOOK
    return target.startswith(OURS) or known
