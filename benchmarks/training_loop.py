"""What the program costs on top of PyTorch: `train`'s images a second against a bare loop over tensors, in one run.

    OMP_NUM_THREADS=1 python benchmarks/training_loop.py

Same network, optimiser, schedule and batch. The program's side has all that a user's run has: metrics, TensorBoard,
callbacks, checkpoints. The bare side indexes float tensors that are ready, and never augments them: the third line says
what random crops and flips cost beside that. The two take turns of some steps each, for a shared machine's speed drifts
by a third within a minute.
"""

import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from pytorch_lightning import Callback, LightningModule, Trainer
from torch import Tensor
from torch.nn import functional as F

from aetransfer.config.compose import checked, composed
from aetransfer.config.schema import Job
from aetransfer.data.batches import content
from aetransfer.data.examples import Examples
from aetransfer.models.base import Model
from aetransfer.models.capabilities import Reconstructs
from aetransfer.store.directory import RunDirectory
from aetransfer.training import logs
from aetransfer.training.build import make_data, make_encoder, make_model, make_trainer
from aetransfer.training.callbacks.progress import Throughput
from aetransfer.transfer.resolve import resolve

IMAGES, TURN = 25_600, 10
CASES = {
    "autoencoder, MNIST": ["experiment=mnist_ae"],
    "classifier, CIFAR-10": [
        *("experiment=mnist_to_cifar10", "transfer=scratch", "augment@data.augment=none"),
    ],
    "and its augmentation": ["experiment=mnist_to_cifar10", "transfer=scratch"],
}


def random_images(job: Job) -> Examples:
    """Make a training set of the job's shape; what is in the pixels makes no difference to speed."""
    assert job.data.stated is not None
    images = torch.randint(0, 256, (IMAGES, *job.data.stated), dtype=torch.uint8)
    return Examples(images, torch.arange(IMAGES) % 10, names=tuple("abcdefghij"))


def fresh_model(job: Job) -> Model:
    torch.manual_seed(0)
    return make_model(job, make_encoder(job), outputs=10)


def bare_loop(job: Job, images: Tensor, labels: Tensor) -> Iterator[None]:
    """Train for an epoch, one step at each `next`."""
    model = fresh_model(job).train()
    batches = -(-len(images) // job.data.batch_size)
    optimizer = model.optimisation.optimizer([{"params": model.parameters(), "lr": job.optimizer.lr}])
    assert model.optimisation.scheduler is not None
    scheduler = model.optimisation.scheduler(optimizer, total_steps=batches)
    for rows in torch.randperm(len(images)).split(job.data.batch_size):
        batch = images[rows]
        if isinstance(model, Reconstructs):
            loss = F.mse_loss(content(model.reconstruct(batch), job.data.pad), content(batch, job.data.pad))
        else:
            loss = F.cross_entropy(model(batch), labels[rows])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        scheduler.step()
        yield


class TakingTurns(Callback):
    """Let the bare loop do as many steps as the program has just done; the program has the clock in between."""

    def __init__(self, loop: Iterator[None]) -> None:
        self.loop = loop
        self.program_seconds = self.bare_seconds = 0.0

    def on_train_epoch_start(self, *_: Any) -> None:
        self.since = time.perf_counter()

    def on_train_batch_end(
        self, trainer: Trainer, model: LightningModule, outputs: Any, batch: Any, number: int
    ) -> None:
        steps = number % TURN + 1
        if steps < TURN and not trainer.is_last_batch:
            return
        stepped = time.perf_counter()
        for _ in range(steps):
            next(self.loop)
        now = time.perf_counter()
        self.program_seconds += stepped - self.since
        self.bare_seconds += now - stepped
        self.since = now


def main() -> None:
    logs.quiet_lightning()
    for name, overrides in CASES.items():
        words = [*overrides, "trainer=cpu", "trainer.max_epochs=1", "trainer.progress=false"]
        job = resolve(checked(composed("train", words), Job), words)
        source = random_images(job)
        data = make_data(job.data, job.seed, job.allow)
        data.reader = lambda split, source=source: source
        data.setup("fit")
        rows = data.count("train")
        ready, labels = data.first_inputs("train", rows), source.labels[:rows]
        turns = TakingTurns(bare_loop(job, ready, labels))
        model = fresh_model(job)
        with tempfile.TemporaryDirectory() as directory:
            trainer = make_trainer(job, RunDirectory(Path(directory)), model, Throughput())
            trainer.callbacks.append(turns)  # type: ignore[attr-defined]  # Lightning sets it from elsewhere
            trainer.fit(model, datamodule=data)
        program, bare = rows / turns.program_seconds, rows / turns.bare_seconds
        print(f"{name:<22}{program:>8,.0f} images/s, bare loop {bare:>8,.0f}: ratio {program / bare:.3f}", flush=True)


if __name__ == "__main__":
    main()
