"""What lets a run that was cut off anywhere go on as if it had not been: the place in the epoch, and the random states.

Order, crops, flips and a VAE's noise are functions of seed, epoch and step; the generators' states are for what is not
ours, like the dropout of somebody's encoder.
"""

import io
import random
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from lightning_fabric.plugins.io.torch_io import TorchCheckpointIO
from pytorch_lightning import LightningModule, Trainer
from pytorch_lightning.callbacks import Checkpoint

from aetransfer.runs.files import replace_file

# A cut costs at most so much work; a checkpoint of the article's network takes a hundredth of a second.
SECONDS_BETWEEN_CHECKPOINTS = 120.0


class AtomicCheckpoints(TorchCheckpointIO):
    """Lightning writes to the machine's temporary folder and moves: between file systems that is a copy."""

    def save_checkpoint(self, checkpoint: dict[str, Any], path: Any, storage_options: Any | None = None) -> None:
        assert storage_options is None
        place = Path(path)
        place.parent.mkdir(parents=True, exist_ok=True)
        buffer = io.BytesIO()
        torch.save(checkpoint, buffer)
        replace_file(place, buffer.getvalue())


class Resume(Checkpoint):
    """Save the last state after each epoch, and every two minutes within one; set what Lightning does not restore.

    Beside the random states that is whether early stopping had spoken. A ModelCheckpoint keeps its last checkpoint only
    when it was also the best.
    """

    def __init__(self, last: Path) -> None:
        self.last = last
        self._saved = time.monotonic()
        self._stopping = False
        self._restored: dict[str, Any] | None = None

    def state_dict(self) -> dict[str, Any]:
        return {"random": _random_states(), "stopping": self._stopping}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self._restored = state_dict

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if self._restored is not None:
            _set_random_states(self._restored["random"])
            trainer.should_stop = self._restored["stopping"]

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        # Collected gradients are in no checkpoint, and the end of an epoch has one of its own.
        whole = (batch_idx + 1) % trainer.accumulate_grad_batches == 0
        if whole and batch_idx + 1 < trainer.num_training_batches and self._is_due(trainer, batch_idx):
            self._save(trainer)

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._stopping = trainer.should_stop
        self._save(trainer)

    def _save(self, trainer: Trainer) -> None:
        trainer.save_checkpoint(self.last)
        self._saved = time.monotonic()

    def _is_due(self, trainer: Trainer, batch_idx: int) -> bool:
        due = time.monotonic() - self._saved > SECONDS_BETWEEN_CHECKPOINTS
        if trainer.world_size == 1:
            return due
        # All processes save together, and asking the first one each step would slow every step.
        return batch_idx % 10 == 9 and bool(trainer.strategy.broadcast(due))


def _random_states() -> dict[str, Any]:
    """Collect the global generators' states as what a checkpoint that runs no code can hold."""
    numpy: Any = np.random.get_state(legacy=False)
    cuda = torch.cuda.get_rng_state_all() if torch.cuda.is_initialized() else []
    return {
        "torch": torch.get_rng_state(),
        "cuda": cuda,
        "numpy": numpy | {"state": {"key": numpy["state"]["key"].tolist(), "pos": numpy["state"]["pos"]}},
        "python": list(random.getstate()),
    }


def _set_random_states(states: dict[str, Any]) -> None:
    torch.set_rng_state(states["torch"])
    if len(states["cuda"]) == torch.cuda.device_count():
        torch.cuda.set_rng_state_all(states["cuda"])
    np.random.set_state(states["numpy"])
    version, internal, gauss = states["python"]
    random.setstate((version, tuple(internal), gauss))
