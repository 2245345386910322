"""Batch normalisation and how many examples of a batch it sees: those of all processes, and never a single value."""

import copy
import logging
from functools import partial

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from aetransfer.config.schema import Job
from aetransfer.config.shapes import noun_of, one_of
from aetransfer.data.batches import Batch
from aetransfer.data.draws import Draws, Share
from aetransfer.data.module import DataModule
from aetransfer.errors import UserError
from aetransfer.models.base import Model
from aetransfer.models.length import limited

log = logging.getLogger(__name__)


def shares_statistics(job: Job, model: Model, processes: int) -> bool:
    """Tell whether batch normalisation is over the examples of all processes: always, where torch can do that."""
    if processes == 1:
        return False
    if _can_share(job):
        return True
    if any(isinstance(module, _BatchNorm) for module in model.modules()):
        log.warning(
            "On the CPU each of the %d processes normalises batches by the %d %s that it has of them.",
            processes,
            job.data.batch_size // processes,
            noun_of(job.data.input_shape or ()),
        )
    return False


def check_smallest_batch(job: Job, model: Model, data: DataModule, processes: int) -> None:
    """Raise UserError where a training batch leaves batch normalisation one value a channel, which torch refuses.

    A convolution's maps have more than one even of a single image, unless they are of a single pixel.
    """
    examples, size = job.data.epoch_images or data.count("train"), job.data.batch_size
    together = 1 if _can_share(job) else processes

    def last_of(batch_size: int) -> int:
        used = limited(job.trainer.limit_train_batches, -(-examples // batch_size))
        return batch_size if used * batch_size <= examples else examples % batch_size or batch_size

    smallest = min(examples, last_of(size))
    if smallest // together > 1 or (layer := _layer_that_needs_two(model, data)) is None:
        return
    other = next((other for other in range(size - 1, 1, -1) if last_of(other) // together > 1), None)
    raise UserError(
        f"{examples} {data.noun} an epoch in batches of {size} leave {smallest} in the last"
        f"{f' for {together} processes' if together > 1 else ''}, and batch normalisation ({layer}) can't train on one "
        f"{one_of(data.shape)}: {f'set data.batch_size={other}' if other else 'raise data.batch_size'} or another "
        "data.epoch_images."
    )


def _can_share(job: Job) -> bool:
    return job.trainer.accelerator != "cpu" and torch.cuda.is_available()


def _layer_that_needs_two(model: Model, data: DataModule) -> str | None:
    """Return the name of a layer that normalises a single value a channel where one example is trained on."""
    found: list[str] = []
    tried = copy.deepcopy(model)
    for name, module in tried.named_modules():
        if isinstance(module, _BatchNorm) and module.training:
            module.register_forward_pre_hook(partial(_note, found, name))
            # What is found is said here, not by torch.
            module.eval()
    with torch.no_grad(), torch.random.fork_rng(devices=[]):
        inputs, targets = next(data.in_order("train", 1, torch.device("cpu"), 1))
        share = Share(1)
        draws = Draws("train", 0, 0, share, inputs.device)
        tried.step(Batch(inputs, targets, share, data.margin, draws))
    return found[0] if found else None


def _note(found: list[str], name: str, module: nn.Module, inputs: tuple[Tensor, ...]) -> None:
    if inputs[0].numel() == inputs[0].shape[1]:
        found.append(name)
