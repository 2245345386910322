"""Training on the batches that somebody's LightningDataModule makes, and measuring as with any other data."""

import logging
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import nullcontext
from typing import Any

import torch
from pytorch_lightning import Trainer
from pytorch_lightning.utilities.seed import isolate_rng

from aetransfer.data.augmented import Augment
from aetransfer.data.batches import Batch, Shares, as_floats
from aetransfer.data.draws import Share, mixed_seed, seed_all
from aetransfer.data.module import DataModule
from aetransfer.data.reader import batches_of, examples_of_module
from aetransfer.errors import UserError

log = logging.getLogger(__name__)

# What changes the batches of other data, and what each is where it changes nothing.
NOT_APPLIED = {"augment": Augment()} | dict.fromkeys(
    ("labels_per_class", "train_fraction", "epoch_images", "test_fraction", "folds", "fold")
)


class OwnDataModule(DataModule):
    """Trains on the batches of a module's train loader as they come. What is validated, tested and measured is of one
    pass through its loaders.
    """

    def __init__(self, module: Callable[[], Any], **settings: Any) -> None:
        """module: its class with its keys. settings: as of DataModule. Raises UserError for what can't apply."""
        self.module = module()
        self.whose = type(self.module).__name__
        for key, nothing in NOT_APPLIED.items():
            if settings.get(key, nothing) != nothing:
                raise UserError(f"data.{key} is set, but {self.whose} makes its own batches: leave it out.")
        super().__init__(lambda split: examples_of_module(self.module, split), **settings)

    def setup(self, stage: str) -> None:
        """Read what `stage` needs. Raises UserError for batches of another size than data.batch_size, and for those of
        which there is no number.
        """
        super().setup(stage)
        if stage == "test":
            return
        loader = self.module.train_dataloader()
        size = getattr(loader, "batch_size", None)
        if size not in (None, self.batch_size):
            raise UserError(
                f"{self.whose} makes batches of {size}, but data.batch_size={self.batch_size}: give both the same."
            )
        if not hasattr(loader, "__len__"):
            raise UserError(f"The train loader of {self.whose} has no length, which schedules need: give it one.")

    def check_processes(self, count: int) -> None:
        """Raise UserError for several: each would be given all batches."""
        if count > 1:
            raise UserError(f"{self.whose} makes its own batches, which {count} processes can't share: take one.")

    def train_dataloader(self) -> Iterable[Batch]:
        trainer = self.trainer
        assert trainer is not None, "loaders belong to a Trainer, whose device they serve"
        self.module.trainer = trainer
        return OwnBatches(self.module.train_dataloader(), self, trainer)


class OwnBatches:
    """The batches of a module's train loader, as those of this program. What they draw follows seed and epoch."""

    def __init__(self, loader: Any, data: OwnDataModule, trainer: Trainer) -> None:
        self.loader, self.data, self.trainer = loader, data, trainer

    def __len__(self) -> int:
        return len(self.loader)

    def __iter__(self) -> Iterator[Batch]:
        data, first = self.data, self.trainer.fit_loop.batch_idx + 1
        # A run that was cut off within an epoch goes on where it was: the epoch's batches are made again up to there,
        # and what else draws goes on with what the checkpoint had.
        with isolate_rng() if first else nullcontext():
            seed_all(mixed_seed("order", data.seed, self.trainer.current_epoch))
            batches = batches_of(data.whose, self.loader)
            if first:
                log.info("%s makes the batches of this epoch again, up to number %d.", data.whose, first)
            for _ in range(first):
                next(batches)
        for number, (inputs, targets) in enumerate(batches, first):
            asked = data.training_split.inputs
            if inputs.shape[1:] != asked.shape[1:] or inputs.dtype != asked.dtype:
                raise UserError(
                    f"Batch {number} of {data.whose} has inputs {tuple(inputs.shape)} of {inputs.dtype}, but the first "
                    f"pass had (B, {', '.join(map(str, asked.shape[1:]))}) of {asked.dtype}: give all alike."
                )
            if targets is None or data.targets.kind == "none":
                targets = torch.zeros(len(inputs), dtype=torch.int64)
            elif data.targets.kind != "classes":
                targets = targets.float().reshape(len(targets), -1)
            device = self.trainer.strategy.root_device
            prepared = as_floats(data.prepare(inputs.to(device)))
            # Each batch counts as much as another, of however many images.
            steps = self.trainer.accumulate_grad_batches, int(self.trainer.num_training_batches)
            weight = Shares(images=sys.maxsize, batch_size=1).in_step(number, *steps).weight
            yield Batch(prepared, targets.to(device), Share(len(inputs), weight=weight), data.margin)
