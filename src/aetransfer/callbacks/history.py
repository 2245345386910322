"""A run's curves in one small file of its own, whatever loggers there are: `history.json`, a row for each epoch."""

import json
from pathlib import Path
from typing import Any

from pytorch_lightning import Callback, LightningModule, Trainer

from aetransfer.runs.files import replace_file


class History(Callback):
    """Write epoch, step, metrics and learning rates after each epoch.

    The rows are in every checkpoint, so a resume repeats none.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.rows: list[dict[str, Any]] = []

    def state_dict(self) -> dict[str, Any]:
        return {"rows": self.rows}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.rows = list(state_dict["rows"])

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        metrics = {
            name: value.item()
            for name, value in trainer.callback_metrics.items()
            if name.startswith(("train/", "val/"))
        }
        # As the next step takes them.
        rates = {
            f"optimizer/lr/{group['name']}": group["lr"]
            for optimizer in trainer.optimizers
            for group in optimizer.param_groups
        }
        self.rows.append({"epoch": trainer.current_epoch + 1, "step": trainer.global_step, **metrics, **rates})
        if trainer.is_global_zero:
            replace_file(self.path, json.dumps(self.rows, indent=1) + "\n")
