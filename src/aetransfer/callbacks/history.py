"""A run's curves in one small file of its own, whatever loggers there are: `history.json`, a row a validation."""

import json
from pathlib import Path
from typing import Any

from pytorch_lightning import Callback, LightningModule, Trainer
from pytorch_lightning.trainer.states import TrainerFn

from aetransfer.models.curve import was_logged
from aetransfer.models.length import epochs_done
from aetransfer.runs.files import replace_file


class History(Callback):
    """Write epoch, step, metrics and learning rates after each validation; of training the mean over the images of
    those batches since the last one that were logged. Within an epoch, `epoch` is a fraction.

    Rows and sums are in every checkpoint, so a resume repeats none.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.rows: list[dict[str, Any]] = []
        self.sums: dict[str, float] = {}
        self.images = 0

    def state_dict(self) -> dict[str, Any]:
        return {"rows": self.rows, "sums": self.sums, "images": self.images}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.rows = list(state_dict["rows"])
        self.sums, self.images = dict(state_dict.get("sums", {})), state_dict.get("images", 0)

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        if was_logged(trainer, batch_idx):
            self.images += batch.share.whole
            for name, value in trainer.callback_metrics.items():
                if name.startswith("train/"):
                    self.sums[name] = self.sums.get(name, 0.0) + value.item() * batch.share.whole

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if trainer.state.fn != TrainerFn.FITTING or trainer.sanity_checking:
            return
        metrics = {name: value.item() for name, value in trainer.callback_metrics.items() if name.startswith("val/")}
        metrics |= {name: total / self.images for name, total in self.sums.items()}
        self.sums, self.images = {}, 0
        # As the next step takes them.
        rates = {
            f"optimizer/lr/{group['name']}": group["lr"]
            for optimizer in trainer.optimizers
            for group in optimizer.param_groups
        }
        self.rows.append({"epoch": epochs_done(trainer), "step": trainer.global_step, **metrics, **rates})
        if trainer.is_global_zero:
            replace_file(self.path, json.dumps(self.rows, indent=1) + "\n")
