"""How fast training goes: examples per second, on a progress bar in a terminal and one line an epoch elsewhere."""

import logging
import time
from datetime import timedelta
from typing import Any

import torch
from pytorch_lightning import Callback, LightningModule, Trainer
from pytorch_lightning.callbacks import RichProgressBar
from pytorch_lightning.trainer.states import TrainerFn

from aetransfer.data.module import data_of
from aetransfer.models.length import batches_left, ends_epoch, epochs_done, is_validated

log = logging.getLogger(__name__)


class Throughput(Callback):
    """Count training images and the seconds they took, validation left out. Images of all processes are counted."""

    def __init__(self) -> None:
        self.images = 0
        self.seconds = 0.0
        self._since = 0.0
        self._began = 0.0
        self._batches = 0
        self._progress: dict[str, Any] = {}

    @property
    def images_per_second(self) -> float:
        return self.images / self.seconds if self.seconds else 0.0

    def progress(self) -> dict[str, Any]:
        """Return `epoch`, `epochs`, `images_per_second` and `seconds_left`; nothing before the first batch.

        The seconds are those of the clock, validation and checkpoints included.
        """
        return self._progress

    def state_dict(self) -> dict[str, Any]:
        return {"images": self.images, "seconds": self.seconds}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.images, self.seconds = state_dict["images"], state_dict["seconds"]

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._since = self._began = time.perf_counter()

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int) -> None:
        if batch_idx == 0:
            _finish_device_work(pl_module.device)
            self._since = time.perf_counter()

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        self.images += batch.share.whole
        if is_validated(trainer) or ends_epoch(trainer):
            _finish_device_work(pl_module.device)
        now = time.perf_counter()
        self.seconds += now - self._since
        self._since = now
        self._batches += 1
        self._progress = {
            "epoch": trainer.current_epoch + 1,
            "epochs": trainer.max_epochs,
            "images_per_second": round(self.images_per_second, 1),
            "seconds_left": round(self.seconds_left(trainer)),
        }

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._since = time.perf_counter()

    def seconds_left(self, trainer: Trainer) -> float:
        """Return how long the rest of a training takes if it goes on like this, validation and checkpoints included."""
        return (time.perf_counter() - self._began) / self._batches * batches_left(trainer)


def _finish_device_work(device: torch.device) -> None:
    """Kernels are queued, so the clock is read once the queue is empty: only where an epoch or a validation begins."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    elif device.type == "mps":
        torch.mps.synchronize()


class TimedBar(RichProgressBar):
    """Lightning's bar, which shows the time left, with images/s, or of what else is trained on."""

    def __init__(self, throughput: Throughput) -> None:
        super().__init__(leave=False, refresh_rate=10)
        self.throughput = throughput

    def _get_train_description(self, current_epoch: int) -> str:
        # Lightning counts from 0 to one less than there are.
        return f"epoch {current_epoch + 1}/{self.trainer.max_epochs}"

    def get_metrics(self, trainer: Trainer, pl_module: LightningModule) -> dict[str, Any]:
        shown = {name: value for name, value in super().get_metrics(trainer, pl_module).items() if name != "v_num"}
        monitored = str(pl_module.monitor)
        if monitored in trainer.callback_metrics:
            shown[monitored] = trainer.callback_metrics[monitored].item()
        return {**shown, f"{data_of(trainer).noun}/s": f"{self.throughput.images_per_second:,.0f}"}


class EpochLines(Callback):
    """One log line an epoch and a validation, for what is not a terminal: a log file, a cluster, CI."""

    def __init__(self, throughput: Throughput) -> None:
        self.throughput = throughput
        self._validated = False

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if trainer.state.fn == TrainerFn.FITTING:
            self._validated = True
            if not ends_epoch(trainer):
                self._say(trainer, epochs_done(trainer))

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._say(trainer, trainer.current_epoch + 1)

    def _say(self, trainer: Trainer, epoch: float) -> None:
        # What was measured at an earlier validation is still there.
        metrics = {
            name: value
            for name, value in trainer.callback_metrics.items()
            if self._validated or not name.startswith("val/")
        }
        self._validated = False
        log.info(
            "epoch %s/%s  %s  %s %s/s  %s left",
            epoch,
            trainer.max_epochs,
            "  ".join(f"{name} {value:.4g}" for name, value in sorted(metrics.items())),
            f"{self.throughput.images_per_second:,.0f}",
            data_of(trainer).noun,
            timedelta(seconds=round(self.throughput.seconds_left(trainer))),
        )
