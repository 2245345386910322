"""The learning rate of each parameter group as a curve, for whatever loggers there are."""

from typing import Any

from pydantic import PositiveInt
from pytorch_lightning import Callback, LightningModule, Trainer


class LearningRate(Callback):
    """Log lr/<group> at the steps that loggers keep; elsewhere a call would cost as much as a small step."""

    def __init__(self, every_n_steps: PositiveInt) -> None:
        self.every_n_steps = every_n_steps

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int) -> None:
        if (trainer.global_step + 1) % self.every_n_steps:
            return
        (optimizer,) = trainer.optimizers
        pl_module.log_dict({f"lr/{group['name']}": group["lr"] for group in optimizer.param_groups})
