"""The name of a run: a hash of the part of its config that decides the numbers.

Where a job ran and who watched it (paths, loggers, progress bar, callbacks that only look, workers) is left out. A
pretraining also leaves out its accelerator and devices, so that transfers on several machines share it.
"""

import hashlib
import json
from typing import Any

from aetransfer.config.schema import Data, GivenEncoder, Job, Pretraining, Training, Transfer

ONLY_LOOKS = "aetransfer.callbacks."
# Of the trainer's settings beyond Training, those that change a transfer's numbers.
HARDWARE = ("accelerator", "devices", "num_nodes", "deterministic")


def identity(job: Job) -> str:
    """Hash a settled job into 10 hexadecimal digits."""
    return _digest(decisive(job))[:10]


def run_name(job: Job) -> str:
    """Name a settled job: pretrain-mnist-ae-d128-s0-<identity>, transfer-cifar10-frozen-from-mnist-ae-d128-s0-..."""
    parts = [job.stage, job.data.name]
    if job.transfer is None:
        parts.append(job.model.name)
    else:
        parts.append(job.transfer.name)
        if job.transfer.carries and isinstance(job.pretrain, Pretraining):
            parts.append(f"from-{job.pretrain.data.name}-{job.pretrain.model.name}")
    return "-".join([*parts, f"d{job.encoder.latent_dim}", f"s{job.seed}", identity(job)])


def decisive(job: Job) -> dict[str, Any]:
    """Return what decides the numbers of a settled job, as plain data."""
    parts: dict[str, Any] = {
        "stage": job.stage,
        "seed": job.seed,
        "data": _data(job.data),
        "encoder": job.encoder.model_dump(by_alias=True),
        "model": job.model.model_dump(),
        "training": _training(job.trainer),
        "callbacks": [
            node.model_dump(by_alias=True)
            for _, node in sorted(job.callbacks.items())
            if node is not None and not node.target.startswith(ONLY_LOOKS)
        ],
    }
    if job.stage == "transfer":
        assert job.transfer is not None and job.head is not None
        parts["head"] = job.head.model_dump()
        parts["arm"] = _arm(job.transfer)
        parts["hardware"] = {key: getattr(job.trainer, key) for key in HARDWARE}
        if job.transfer.carries:
            parts["source"] = _source(job.pretrain)
    return parts


def _arm(transfer: Transfer) -> dict[str, Any]:
    """Leave out an arm's name and control, what only other arms heed, and what data and head already say."""
    left_out = {"name", "control", "channels", "linear_head"}
    if transfer.freezes:
        left_out.add("layer_decay")
    if transfer.encoder != "gradual":
        left_out.add("unfrozen_by")
    return transfer.model_dump(exclude=left_out)


def _source(pretrain: Pretraining | GivenEncoder | None) -> dict[str, Any]:
    assert pretrain is not None
    if isinstance(pretrain, GivenEncoder):
        return {"given": pretrain.digest}
    return {
        "seed": pretrain.seed,
        "data": _data(pretrain.data),
        "model": pretrain.model.model_dump(),
        "training": _training(pretrain.trainer),
    }


def images_identity(data: Data) -> str:
    """Hash what decides which images a measure sees, and which labels, into 6 hexadecimal digits."""
    trained = ("batch_size", "epoch_images", "augment")
    return _digest({key: value for key, value in _data(data).items() if key not in trained})[:6]


def _data(data: Data) -> dict[str, Any]:
    kept = data.model_dump(by_alias=True, exclude={"workers", "max_memory_gb"})
    kept["reader"] = {key: value for key, value in kept["reader"].items() if key not in ("root", "cache_dir")}
    return kept


def _training(trainer: Training) -> dict[str, Any]:
    return trainer.model_dump(include=set(Training.model_fields))


def _digest(plain: dict[str, Any]) -> str:
    text = json.dumps(_canonical(plain), sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


def _canonical(value: Any) -> Any:
    """Make 1 and 1.0 the same, and an absent key and one that is null."""
    if isinstance(value, dict):
        return {str(key): _canonical(item) for key, item in value.items() if item is not None}
    if isinstance(value, list | tuple):
        return [_canonical(item) for item in value]
    if isinstance(value, float) and value.is_integer():
        return int(value)
    return value
