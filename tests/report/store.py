"""Made-up finished runs on disk, such as training leaves behind, with accuracies that a test chooses."""

import json
import math
import random
from pathlib import Path

import numpy as np
from PIL import Image

from aetransfer.config.compose import checked, composed
from aetransfer.config.schema import Job
from aetransfer.models.facts import Monitor, facts_of
from aetransfer.store.directory import RunDirectory
from aetransfer.store.identity import identity
from aetransfer.sweeps.jobs import SweepJob, note_job
from aetransfer.transfer.resolve import pretraining_of, resolve

ACCURACY = Monitor("test/acc", "max")
# What an arm is worth over training from scratch, in accuracy.
EFFECTS = {"scratch": 0.0, "random_frozen": -0.25, "frozen": -0.1, "finetune": 0.05}
VERSIONS = {"python": "3.11.7", "aetransfer": "0.1.0", "torch": "2.6.0"}
_jobs: dict[tuple[str, ...], Job] = {}


def resolved(output_dir: Path, *words: str, seed: int = 0, pretrain_seed: int | None = None) -> Job:
    """The job of these overrides. Hydra takes a tenth of a second to compose one, so seeds share it.

    pretrain_seed: None for a pretraining of the same seed.
    """
    if words not in _jobs:
        _jobs[words] = resolve(checked(composed("train", list(words)), Job), list(words))
    job = _jobs[words]
    source_seed = seed if pretrain_seed is None else pretrain_seed
    pretrain = job.pretrain.model_copy(update={"seed": source_seed}) if job.pretrain is not None else None
    paths = job.paths.model_copy(update={"output_dir": output_dir})
    return job.model_copy(update={"seed": seed, "pretrain": pretrain, "paths": paths})


def make_run(
    output_dir: Path,
    *words: str,
    seed: int = 0,
    pretrain_seed: int | None = None,
    acc: float | None = None,
    val: float | None = None,
    history: bool = True,
    metrics: dict | None = None,
    model: dict | None = None,
) -> Path:
    """Write a finished transfer, with its pretraining where it carries one, and return its directory.

    acc: its test accuracy; by default one that depends on the arm, the labels, the latent size and the seed. val: its
    validation accuracy, by default the same. metrics: in place of a classifier's. model: what it says of its model, as newer runs do.
    """
    job = resolved(output_dir, *words, seed=seed, pretrain_seed=pretrain_seed)
    source = None
    if job.transfer.carries:
        source = _write(pretraining_of(job), {"val/mse": 0.0031, "test/mse": 0.003 + seed * 1e-5}, None, words, history)
        Image.fromarray(np.full((40, 300), 40 * seed % 256, dtype=np.uint8)).save(source / "reconstructions.png")
    value = _accuracy(job) if acc is None else acc
    classified = {
        "val/acc": value if val is None else val,
        "test/acc": value,
        "test/f1": value - 0.01,
        "test/nll": -math.log(value),
        "test/ece": 0.1,
    }
    run = _write(job, metrics or classified, source, words, history)
    if model is not None:
        change_result(run, model=model)
    return run


def make_pretraining(output_dir: Path, *words: str, seed: int = 0, mse: float = 0.003) -> Path:
    return _write(resolved(output_dir, *words, seed=seed), {"test/mse": mse}, None, words, True)


def change_result(run: Path, **values: object) -> None:
    path = run / "result.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | values))


def make_sweep(output_dir: Path, runs: list[Path], *, name: str = "2026-01-01_00-00-00", failed: int = 0) -> Path:
    """Write a sweep over these runs. failed: how many more jobs ended in an error."""
    sweep = output_dir / "sweeps" / name
    for number, run in enumerate(runs):
        note_job(sweep, SweepJob(number, [f"number={number}"], str(run), None))
    for number in range(len(runs), len(runs) + failed):
        note_job(sweep, SweepJob(number, ["transfer=scratch", f"seed={number}"], None, "The disk <is> full."))
    return sweep


def _write(job: Job, metrics: dict, source: Path | None, words: tuple[str, ...], history: bool) -> Path:
    directory = RunDirectory.of(job)
    if directory.result_path.exists():
        return directory.path
    directory.path.mkdir(parents=True, exist_ok=True)
    directory.write_config(job)
    epochs = 10
    directory.write_result(
        {
            "status": "finished",
            "name": directory.path.name,
            "identity": identity(job),
            "stage": job.stage,
            "arm": job.transfer.name if job.transfer else None,
            "seed": job.seed,
            "source": str(source) if source else None,
            "metrics": metrics,
            "model": facts_of({}, {"model": {"name": job.model.name}}).model_dump(),
            "counts": {"train": _images(job), "val": 100, "test": 360, "epochs": epochs, "trained_parameters": 528522},
            "timing": {"started": "2026-01-01T00:00:00+00:00", "train_seconds": 12.3, "images_per_second": 2556.8, "seconds": 15.1},
            "overrides": [*words, f"seed={job.seed}"],
            "versions": VERSIONS,
            "git": {"commit": "9e720f678ede68945046e1a888631bb2692403ff", "dirty": False},
            "command": ["/x/src/aetransfer/train.py", "-m", *words, "seed=0,1,2", "hydra.sweep.dir='/x/sweeps/first'"],
            "hardware": {"host": "vm", "machine": "x86_64", "cpus": 2, "threads": 1, "gpus": []},
        }
    )  # fmt: skip
    if history:
        last = {name.replace("test/", "val/"): value for name, value in metrics.items()}
        rows = [
            {"epoch": epoch, "step": 10 * epoch, **{name: value * (1 - 0.6**epoch) for name, value in last.items()}}
            for epoch in range(1, epochs + 1)
        ]
        (directory.path / "history.json").write_text(json.dumps(rows))
    return directory.path


def _images(job: Job) -> int:
    return 10 * job.data.labels_per_class if job.data.labels_per_class else round(1300 * (job.data.train_fraction or 1))


def _accuracy(job: Job) -> float:
    noise = random.Random(f"{job.transfer.name} {job.seed} {_images(job)} {job.encoder.latent_dim}").gauss(0, 0.012)
    easy = 0.45 + 0.06 * math.log(_images(job)) + 0.02 * math.log2(job.encoder.latent_dim / 64)
    return min(easy + EFFECTS.get(job.transfer.name, 0.0) + noise, 0.99)
