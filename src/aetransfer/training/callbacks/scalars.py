"""What loggers get of a run beside metrics: curves of optimizer/ and system/, their layout, and the run's config."""

import textwrap
from typing import Any

import psutil
import torch
from pytorch_lightning import Callback, LightningModule, Trainer
from tensorboard.compat.proto.event_pb2 import Event, SessionLog
from torch import Tensor

from aetransfer.config.commands import again
from aetransfer.models.length import is_kept
from aetransfer.printable import without_secrets
from aetransfer.store.directory import RunDirectory
from aetransfer.training.callbacks.board import BoardCallback
from aetransfer.training.callbacks.progress import Throughput
from aetransfer.training.strategy import is_sharded


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
