"""What lets a run that was cut off anywhere go on as if it had not been: the place in the epoch, and the random states.

Order, crops, flips and a VAE's noise are functions of seed, epoch and step; the generators' states are for what is not
ours, like the dropout of somebody's encoder.
"""

import io
import logging
import random
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from lightning_fabric.plugins.io.torch_io import TorchCheckpointIO
from pytorch_lightning import LightningModule, Trainer
from pytorch_lightning.callbacks import Checkpoint
from pytorch_lightning.trainer.states import TrainerFn

from aetransfer import signals
from aetransfer.errors import UserError
from aetransfer.files import replace_file
from aetransfer.models.length import ends_epoch, is_validated, validate_last_epoch
from aetransfer.models.processes import in_any_process
from aetransfer.training.callbacks.health import Finite
from aetransfer.transfer.exported import loaded

log = logging.getLogger(__name__)

# A cut costs at most so much work; a checkpoint of the article's network takes a hundredth of a second.
SECONDS_BETWEEN_CHECKPOINTS = 120.0
# The state after an epoch's last step can only be kept once the epoch is validated: worth waiting for so long.
PATIENCE_WITH_VALIDATION = 10.0
# Several processes must agree on when to save and when to stop, and agreeing at each step would slow every step.
STEPS_BETWEEN_AGREEMENTS = 10


class AtomicCheckpoints(TorchCheckpointIO):
    """Lightning writes to the machine's temporary folder and moves: between file systems that is a copy.

    storage_options: where the checkpoint that is replaced goes, a path; None to drop it.
    """

    def save_checkpoint(self, checkpoint: dict[str, Any], path: Any, storage_options: Any | None = None) -> None:
        place = Path(path)
        # A run directory that was removed is not made again.
        place.parent.mkdir(exist_ok=True)
        buffer = io.BytesIO()
        torch.save(checkpoint, buffer)
        replace_file(place, buffer.getvalue(), keep=storage_options)

    def load_checkpoint(self, path: Any, *_: Any, **__: Any) -> dict[str, Any]:
        """Load tensors and plain data, whatever Lightning asks for. Raises UserError for a file that holds more."""
        return loaded(Path(path))

    def remove_checkpoint(self, path: Any) -> None:
        """Remove one file. Its path may come out of a checkpoint, where Lightning checks only how it begins."""
        place = Path(path)
        if ".." in place.parts or place.suffix != ".ckpt":
            raise UserError(f"A checkpoint asks for {path} to be removed, which is none: it is not resumed from.")
        place.unlink(missing_ok=True)


class Resume(Checkpoint):
    """Save the last state after each epoch and validation, every two minutes in between and when a signal asks for a
    stop, which is then obeyed; set what Lightning does not restore.

    Beside the random states that is whether early stopping had spoken. A ModelCheckpoint keeps its last checkpoint only
    when it was also the best.
    """

    def __init__(self, last: Path, previous: Path, finite: Finite) -> None:
        self.last, self.previous, self.finite = last, previous, finite
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
            validate_last_epoch(trainer)

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        # Collected gradients are in no checkpoint. Validations and ends of epochs have one of their own: a resume from
        # here would leave the validation out.
        steps, rest = divmod(batch_idx + 1, trainer.accumulate_grad_batches)
        if rest or is_validated(trainer) or ends_epoch(trainer):
            return
        if trainer.world_size > 1 and steps % STEPS_BETWEEN_AGREEMENTS:
            return
        due = time.monotonic() - self._saved > SECONDS_BETWEEN_CHECKPOINTS
        if in_any_process(trainer, due or signals.asked() is not None):
            self._save(trainer)
            _stop_if_asked(trainer)

    def on_validation_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int, *_: Any
    ) -> None:
        # Each process has a part of every batch, so that all of them get here equally often.
        if trainer.world_size > 1 and (batch_idx + 1) % STEPS_BETWEEN_AGREEMENTS:
            return
        if in_any_process(trainer, signals.seconds_since_asked() > PATIENCE_WITH_VALIDATION):
            raise signals.Stopped(signals.name())

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if trainer.state.fn != TrainerFn.FITTING or ends_epoch(trainer):
            return
        if (trainer.fit_loop.batch_idx + 1) % trainer.accumulate_grad_batches == 0:
            self._save(trainer)
            _stop_if_asked(trainer)

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._save(trainer)
        _stop_if_asked(trainer)

    def _save(self, trainer: Trainer) -> None:
        self.finite.check(trainer)
        self._stopping = trainer.should_stop
        trainer.save_checkpoint(self.last, storage_options=self.previous)
        self._saved = time.monotonic()


def _stop_if_asked(trainer: Trainer) -> None:
    if in_any_process(trainer, signals.asked() is not None):
        log.info("Stopped by %s after step %d, which is saved.", signals.name(), trainer.global_step)
        raise signals.Stopped


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
