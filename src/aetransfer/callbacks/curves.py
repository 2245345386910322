"""TensorBoard's curves as one reads them: training and validation of a quantity in one chart, and no line twice."""

from typing import Any

from pytorch_lightning import Callback, LightningModule, Trainer
from tensorboard.compat.proto.event_pb2 import Event, SessionLog

from aetransfer.callbacks.board import Board


class Curves(Callback):
    """Lay out the Custom Scalars tab, and take back what a run had logged of steps that it does again.

    A chart for each metric that the model declares and logs in training and in validation alike.
    """

    def __init__(self) -> None:
        self.board = Board("")
        self._laid_out = False

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self.board.follow(trainer)
        if trainer.global_step and trainer.is_global_zero:
            self.board.write(Event(session_log=SessionLog(status=SessionLog.START)), trainer.global_step)

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        # What is logged is known once an epoch was.
        if self._laid_out or not trainer.is_global_zero:
            return
        self._laid_out = True
        declared: Any = pl_module.metrics
        charts = {
            name: ["Multiline", tags]
            for name in declared
            if set(tags := [f"train/{name}", f"val/{name}"]) <= set(trainer.callback_metrics)
        }
        for writer in self.board.writers:
            writer.add_custom_scalars({"training and validation": charts})
