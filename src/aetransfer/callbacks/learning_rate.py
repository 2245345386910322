"""The learning rate of each parameter group as a curve, for whatever loggers there are."""

from typing import Any

from pytorch_lightning import Callback, LightningModule, Trainer


class LearningRate(Callback):
    """Log lr/<group> whenever a step is logged."""

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int) -> None:
        (optimizer,) = trainer.optimizers
        pl_module.log_dict({f"lr/{group['name']}": group["lr"] for group in optimizer.param_groups})
