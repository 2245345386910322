"""Curves of how training goes, beside its metrics: optimizer/ and system/, for whatever loggers there are.

All of them are taken at the steps that loggers keep, for each costs some time: no other step does more for them than
ask whether it is kept.
"""

import psutil
import torch
from pytorch_lightning import Callback, LightningModule, Trainer
from torch import Tensor

from aetransfer.callbacks.progress import Throughput
from aetransfer.models.curve import is_kept
from aetransfer.sharded import is_sharded


class StepScalars(Callback):
    """Log optimizer/lr/<group>, optimizer/gradient_norm (before it is clipped), system/images_per_second since the last
    kept step, and system/ram_gb and gpu_gb, the memory that the first process has and the most it ever had on its GPU.

    Where weights are sharded, no process knows the norm of a gradient.
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
