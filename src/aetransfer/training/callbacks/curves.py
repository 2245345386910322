"""A run's curves: what loggers get of it beside metrics, how charts are laid out, and files that go on where a run that
was cut off goes on.

`history.json` has a row a validation, whatever loggers there are. `metrics.csv` is of Lightning's CSV logger, which
by itself begins by deleting what was logged before.
"""

import csv
import json
import textwrap
from collections.abc import Mapping
from io import StringIO
from pathlib import Path
from typing import Any

import psutil
import torch
from lightning_fabric.loggers.logger import rank_zero_experiment
from pytorch_lightning import Callback, LightningModule, Trainer
from pytorch_lightning.loggers import CSVLogger, TensorBoardLogger
from pytorch_lightning.loggers.csv_logs import ExperimentWriter
from pytorch_lightning.trainer.states import TrainerFn
from tensorboard.compat.proto.event_pb2 import Event, SessionLog
from torch import Tensor

from aetransfer.config.commands import again
from aetransfer.files import replace_file
from aetransfer.models.length import epochs_done, is_kept, was_logged
from aetransfer.printable import without_secrets
from aetransfer.store.directory import RunDirectory
from aetransfer.training.callbacks.board import BoardCallback
from aetransfer.training.callbacks.progress import Throughput
from aetransfer.training.strategy import is_sharded

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


class StepScalars(Callback):
    """Log optimizer/lr/<group>, optimizer/gradient_norm (before it is clipped), system/images_per_second since the last
    kept step, and system/ram_gb and gpu_gb, the memory that the first process has and the most it ever had on its GPU.

    No other step does more than ask whether it is kept. Where weights are sharded, no process knows the norm.
    """

    def __init__(self) -> None:
        self._counted = (0, 0.0)

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._counted = _counted(trainer)

    def on_before_optimizer_step(
        self, trainer: Trainer, pl_module: LightningModule, optimizer: torch.optim.Optimizer
    ) -> None:
        if not is_kept(trainer) or not trainer.is_global_zero:
            return
        values = {f"optimizer/lr/{group['name']}": group["lr"] for group in optimizer.param_groups}
        if not is_sharded(trainer):
            values["optimizer/gradient_norm"] = gradient_norm(pl_module, optimizer).item()
        (images_before, seconds_before), (images, seconds) = self._counted, _counted(trainer)
        self._counted = (images, seconds)
        if seconds > seconds_before:
            values["system/images_per_second"] = (images - images_before) / (seconds - seconds_before)
        values |= memory(pl_module.device)
        for logger in trainer.loggers:
            logger.log_metrics(values, trainer.global_step)


def gradient_norm(model: LightningModule, optimizer: torch.optim.Optimizer) -> Tensor:
    """Return the length of the gradient that the optimiser gets, over all of its parameters."""
    # Their gradients are dropped after this.
    frozen_layers = getattr(model, "frozen_layers", ())
    frozen = {parameter for module in frozen_layers for parameter in module.parameters(recurse=False)}
    gradients = [
        parameter.grad
        for group in optimizer.param_groups
        for parameter in group["params"]
        if parameter.grad is not None and parameter not in frozen
    ]
    return torch.nn.utils.get_total_norm(gradients)


def memory(device: torch.device) -> dict[str, float]:
    """Return what this process has of the memory, in GB of 1e9 bytes."""
    used = {"system/ram_gb": psutil.Process().memory_info().rss / 1e9}
    if device.type == "cuda":
        used["system/gpu_gb"] = torch.cuda.max_memory_allocated(device) / 1e9
    return used


def _counted(trainer: Trainer) -> tuple[int, float]:
    """Return the images that were trained on so far, and the seconds that took."""
    (throughput,) = (each for each in trainer.callbacks if isinstance(each, Throughput))  # type: ignore[attr-defined]
    return throughput.images, throughput.seconds


class Curves(BoardCallback):
    """Lay out the Custom Scalars tab, and take back what a run had logged of steps that it does again.

    A chart for each metric that the model declares and logs in training and in validation alike.
    """

    def __init__(self) -> None:
        super().__init__("")
        self._laid_out = False

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if trainer.global_step and trainer.is_global_zero:
            self.write(Event(session_log=SessionLog(status=SessionLog.START)), trainer.global_step)

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
        for writer in self.writers:
            writer.add_custom_scalars({"training and validation": charts})


class About(BoardCallback):
    """Write run/config and run/command when training begins, and when it goes on. Secrets are hidden, as in the files.

    Nothing is said of a training that no command began.
    """

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        run = RunDirectory(self.directory)
        written = run.result()
        if not trainer.is_global_zero or written is None:
            return
        self.tell("run/command", as_code(without_secrets(again(written))), trainer.global_step)
        self.tell("run/config", as_code(run.config.read_text()), trainer.global_step)


def as_code(text: str) -> str:
    """Return markdown that shows a text as it is: what is indented can't end the block, whatever it holds."""
    return textwrap.indent(text, "    ", lambda line: True)
