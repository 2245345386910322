"""The learning rate of each parameter group as a curve, for whatever loggers there are."""

from typing import Any

from pytorch_lightning import Callback, LightningModule, Trainer

from aetransfer.models.curve import is_kept


class LearningRate(Callback):
    """Log lr/<group> at the steps at which metrics are logged."""

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int) -> None:
        if not is_kept(trainer):
            return
        (optimizer,) = trainer.optimizers
        rates = {f"lr/{group['name']}": group["lr"] for group in optimizer.param_groups}
        for logger in trainer.loggers:
            logger.log_metrics(rates, trainer.global_step)
