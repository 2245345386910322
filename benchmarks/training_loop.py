"""What the program costs on top of PyTorch: `train`'s images a second against a bare loop over tensors, in one run.

    python benchmarks/training_loop.py

Same network, optimiser, schedule and batch. The program's side has all that a user's run has: metrics, TensorBoard,
callbacks, checkpoints. The bare side indexes float tensors that are ready, and never augments them: the third line says
what random crops and flips cost beside that.
"""

import statistics
import tempfile
import time
from pathlib import Path

import torch
from torch import Tensor
from torch.nn import functional as F

from aetransfer import logs
from aetransfer.assemble import Model, make_data, make_encoder, make_model, make_trainer
from aetransfer.callbacks.progress import Throughput
from aetransfer.config.compose import checked, composed
from aetransfer.config.schema import Job
from aetransfer.data.images import Images
from aetransfer.data.module import ImageDataModule
from aetransfer.models.autoencoder import AutoEncoder
from aetransfer.models.optimisers import configure
from aetransfer.runs.directory import RunDirectory
from aetransfer.transfer.settle import settle

IMAGES, ROUNDS = 6_400, 12
CASES = {
    "autoencoder, MNIST": ["experiment=mnist_ae"],
    "classifier, CIFAR-10": [
        *("experiment=mnist_to_cifar10", "transfer=scratch"),
        *("data.augment.crop_padding=0", "data.augment.flip=false"),
    ],
    "and its augmentation": ["experiment=mnist_to_cifar10", "transfer=scratch"],
}


def random_images(job: Job) -> Images:
    """Make a training set of the job's shape; what is in the pixels makes no difference to speed."""
    shape = (IMAGES, job.data.channels, job.data.image_size, job.data.image_size)
    images = torch.randint(0, 256, shape, dtype=torch.uint8)
    return Images(images, torch.arange(IMAGES) % 10, tuple("abcdefghij"))


def fresh_model(job: Job) -> Model:
    torch.manual_seed(0)
    return make_model(job, make_encoder(job), classes=10)


def through_the_program(job: Job, data: ImageDataModule) -> float:
    with tempfile.TemporaryDirectory() as directory:
        throughput = Throughput()
        model = fresh_model(job)
        trainer = make_trainer(job, RunDirectory(Path(directory)), model, throughput)
        trainer.fit(model, datamodule=data)
    return throughput.images_per_second


def bare(job: Job, images: Tensor, labels: Tensor) -> float:
    model = fresh_model(job).train()
    batches = -(-len(images) // job.data.batch_size)
    made = configure(job.model.optimizer, {"all": (model.parameters(), job.model.optimizer.lr)}, batches)
    optimizer, scheduler = made["optimizer"], made["lr_scheduler"]["scheduler"]
    started = time.perf_counter()
    for rows in torch.randperm(len(images)).split(job.data.batch_size):
        batch = images[rows]
        if isinstance(model, AutoEncoder):
            loss = model.squared_error(batch).mean()
        else:
            loss = F.cross_entropy(model(batch), labels[rows])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        scheduler.step()
    return len(images) / (time.perf_counter() - started)


def pair(
    job: Job, data: ImageDataModule, images: Tensor, labels: Tensor, *, program_first: bool
) -> tuple[float, float]:
    """Images a second of both sides, whose turn changes: what else the machine does comes and goes within a pair."""
    if program_first:
        return through_the_program(job, data), bare(job, images, labels)
    loop = bare(job, images, labels)
    return through_the_program(job, data), loop


def main() -> None:
    logs.quiet_lightning()
    for name, overrides in CASES.items():
        words = [*overrides, "trainer=cpu", "trainer.max_epochs=1", "trainer.progress=false"]
        job = settle(checked(composed("train", words), Job), words)
        source = random_images(job)
        data = make_data(job.data, job.seed, job.allow)
        data.reader = lambda split, source=source: source
        data.setup("fit")
        rows = data.count("train")
        ready, labels = data.first_images("train", rows), source.labels[:rows]
        pairs = [pair(job, data, ready, labels, program_first=number % 2 == 0) for number in range(ROUNDS)]
        ratio = statistics.median(program / loop for program, loop in pairs)
        program, loop = (statistics.median(side) for side in zip(*pairs, strict=True))
        print(
            f"{name:<22}{program:>8,.0f} images/s, bare loop {loop:>8,.0f}: median ratio of {ROUNDS} pairs {ratio:.3f}"
        )


if __name__ == "__main__":
    main()
