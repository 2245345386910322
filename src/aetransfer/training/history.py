"""A run's curves in files that go on where a run that was cut off goes on.

`history.json` has a row a validation, whatever loggers there are. `metrics.csv` is of Lightning's CSV logger, which
by itself begins by deleting what was logged before.
"""

import csv
import json
from collections.abc import Mapping
from io import StringIO
from pathlib import Path
from typing import Any

from lightning_fabric.loggers.logger import rank_zero_experiment
from pytorch_lightning import Callback, LightningModule, Trainer
from pytorch_lightning.loggers import CSVLogger, TensorBoardLogger
from pytorch_lightning.loggers.csv_logs import ExperimentWriter
from pytorch_lightning.trainer.states import TrainerFn

from aetransfer.files import replace_file
from aetransfer.models.length import epochs_done, was_logged

# TensorBoard's cards stand in the order of their tags: test/, train/, val/, then the pictures of view/, and this.
WATCHED = "watch/"


class OrderedTensorBoardLogger(TensorBoardLogger):
    """Lightning's, with metrics first: optimizer/ and system/ follow as watch/, and the count of epochs is left out."""

    def log_metrics(self, metrics: Mapping[str, float], step: int | None = None) -> None:
        values = {
            f"{WATCHED}{name}" if name.startswith(("optimizer/", "system/")) else name: value
            for name, value in metrics.items()
            if name != "epoch"
        }
        super().log_metrics(values, step)


class ContinuedCSVLogger(CSVLogger):
    """Lightning's, with metrics.csv going on where a run goes on; steps that are done again take their rows back."""

    @property
    @rank_zero_experiment
    def experiment(self) -> ExperimentWriter:
        if self._experiment is None:
            self._experiment = _ContinuedWriter(self.log_dir)
        assert isinstance(self._experiment, ExperimentWriter)
        return self._experiment


class _ContinuedWriter(ExperimentWriter):
    def __init__(self, log_dir: str) -> None:
        super().__init__(log_dir)
        self._continued = False

    def _check_log_dir_exists(self) -> None:
        """Leave what is there, where Lightning's removes it."""

    def log_metrics(self, metrics_dict: dict[str, Any], step: int | None = None) -> None:
        if not self._continued and step is not None:
            self._take_back(step)
        self._continued = True
        super().log_metrics(metrics_dict, step)

    def _take_back(self, step: int) -> None:
        path = Path(self.metrics_file_path)
        if not path.exists():
            return
        # A process that was killed may have left half a line.
        whole = [line for line in path.read_text().splitlines(keepends=True) if line.endswith("\n")]
        reader = csv.DictReader(whole)
        kept = [row for row in reader if int(row["step"]) < step]
        self.metrics_keys = list(reader.fieldnames or ())
        text = StringIO()
        writer = csv.DictWriter(text, self.metrics_keys, lineterminator="\n")
        writer.writeheader()
        writer.writerows(kept)
        replace_file(path, text.getvalue())


class History(Callback):
    """Write epoch, step, metrics and learning rates after each validation. Within an epoch, `epoch` is a fraction.

    Of training it is the mean over the images of those batches since the last one that were logged, which loggers get.

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
        if trainer.state.fn != TrainerFn.FITTING:
            return
        metrics = {name: value.item() for name, value in trainer.callback_metrics.items() if name.startswith("val/")}
        means = {name: total / self.images for name, total in self.sums.items()}
        for logger in trainer.loggers if means else []:
            logger.log_metrics(means | {"epoch": trainer.current_epoch}, max(trainer.global_step - 1, 0))
        metrics |= means
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
