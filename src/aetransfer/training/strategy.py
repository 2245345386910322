"""What Lightning is told of the processes of a run: which one this is; that weights, gradients and optimiser states are
spread over them (FSDP), for encoders that no single device can hold; and over which of them a batch is normalised.

Checkpoints and exported encoders are whole, as from any other run.
"""

import copy
import logging
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import torch
from lightning_fabric.plugins.environments.lightning import LightningEnvironment
from pytorch_lightning import Trainer
from pytorch_lightning.strategies import FSDPStrategy, ParallelStrategy
from torch import Tensor, nn
from torch.distributed import (  # type: ignore[attr-defined]  # public, but in no __all__
    HashStore,
    Store,
    all_gather_object,
)
from torch.distributed.fsdp import FullyShardedDataParallel
from torch.distributed.fsdp.wrap import CustomPolicy
from torch.nn.modules.batchnorm import _BatchNorm
from torch.optim import Optimizer

from aetransfer.config.schema import Job
from aetransfer.config.shapes import noun_of, one_of
from aetransfer.data.batches import Batch
from aetransfer.data.draws import Draws, Share
from aetransfer.data.module import DataModule
from aetransfer.errors import UserError
from aetransfer.models.base import Model
from aetransfer.models.length import limited
from aetransfer.transfer.exported import read_checkpoint

log = logging.getLogger(__name__)

# Parameters of a layer from which on it is gathered by itself, when its turn comes; all others are gathered together.
LARGE_LAYER = 1_000_000


class Worker(LightningEnvironment):
    """Process `rank` of the `size` that execute a stage; by default the only one.

    store: where they meet; its keys are used once. Lightning starts no process, and asks no launcher for them.
    """

    def __init__(
        self, node: int = 0, local: int = 0, on_node: int = 1, nodes: int = 1, store: Store | None = None
    ) -> None:
        super().__init__()
        self.rank, self.size = node * on_node + local, on_node * nodes
        self._node, self._local, self._store = node, local, store

    @property
    def creates_processes_externally(self) -> bool:
        return True

    def node_rank(self) -> int:
        return self._node

    def local_rank(self) -> int:
        return self._local

    @contextmanager
    def joined(self, trainer: Trainer) -> Iterator[None]:
        """Be in one process group with the others meanwhile, if the trainer's strategy uses one."""
        if not hasattr(trainer.strategy, "process_group_backend"):
            yield
            return
        backend = "nccl" if trainer.strategy.root_device.type == "cuda" else "gloo"
        # Lightning takes a group that is there.
        torch.distributed.init_process_group(
            backend, store=self._store or HashStore(), rank=self.rank, world_size=self.size
        )
        try:
            yield
        finally:
            torch.distributed.destroy_process_group()


class Sharded(FSDPStrategy):
    """Lightning's strategy, on CPUs as well: it refuses them by its own class's name."""

    def __init__(self) -> None:
        # Whole modules can't be gathered at their turn: a VAE calls parts of its encoder.
        policy: Any = CustomPolicy(_is_large_layer)
        super().__init__(state_dict_type="full", auto_wrap_policy=policy)

    def _setup_model(self, model: nn.Module) -> nn.Module:
        # Lightning names a device by its index alone, and on a CPU there is none.
        if self.root_device.type == "cpu":
            return FullyShardedDataParallel(
                model, device_id=self.root_device, mixed_precision=self.mixed_precision_config, **self.kwargs
            )
        return super()._setup_model(model)

    def optimizer_state(self, optimizer: Optimizer) -> dict[str, Any]:
        """Return the optimiser's whole state. On a CPU each of Adam's moments is asked for by itself.

        torch gathers all of them into the same memory, one after another, and it is the copy from a GPU that keeps them
        apart: on a CPU the first moment would be saved with the values of the second.
        """
        names: list[set[str]] = [set()] * self.world_size
        all_gather_object(names, {name for state in optimizer.state.values() for name in state})
        if self.root_device.type != "cpu" or not any(names):
            return super().optimizer_state(optimizer)
        whole: dict[str, Any] = {}
        for name in sorted(set.union(*names)):
            one = copy.copy(getattr(optimizer, "_optimizer", optimizer))
            one.state = defaultdict(
                dict, {key: {name: state[name]} for key, state in optimizer.state.items() if name in state}
            )
            part: dict[str, Any] = copy.deepcopy(super().optimizer_state(one))
            for key, state in whole.get("state", {}).items():
                state |= part["state"].get(key, {})
            whole = whole or part
        return whole

    def save_checkpoint(self, checkpoint: dict[str, Any], filepath: Any, storage_options: Any | None = None) -> None:
        """Write the whole state, which has been gathered, as any run's: the one before it is kept."""
        # Lightning's own, for the sake of checkpoints that are folders, knows of no such options.
        ParallelStrategy.save_checkpoint(self, checkpoint, filepath, storage_options)

    def load_checkpoint(self, checkpoint_path: Any, weights_only: bool | None = None) -> dict[str, Any]:
        """Load a whole checkpoint into the shards. Raises UserError for a file that holds more than weights."""
        # Lightning reads it without asking what it would run.
        read_checkpoint(Path(checkpoint_path))
        return super().load_checkpoint(checkpoint_path, weights_only)


def is_sharded(trainer: Trainer) -> bool:
    """Tell whether a process has whole weights only within a step, so that a callback can't use the model."""
    return isinstance(trainer.strategy, FSDPStrategy)


def _is_large_layer(module: nn.Module) -> bool:
    return sum(parameter.numel() for parameter in module.parameters(recurse=False)) >= LARGE_LAYER


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
