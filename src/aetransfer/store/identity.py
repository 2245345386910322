"""The name of a run: a digest of the part of its config that decides the numbers, and one of its data.

Where a job ran and who watched it (paths, loggers, progress bar, callbacks that only look, workers) is left out. A
pretraining also leaves out its accelerator and devices, so that transfers on several machines share it. The data count
by what they are: equal images elsewhere are the same run, other images at the same place are not.
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

from aetransfer.config.instantiate import bind, check_allowed
from aetransfer.config.nodes import ModelNode, OptimizerNode, SchedulerNode, Target
from aetransfer.config.other_names import oldest, oldest_augment
from aetransfer.config.schema import (
    ARM,
    HEAD,
    Data,
    GivenEncoder,
    Job,
    Paths,
    Pretraining,
    Training,
    Transfer,
    TransferNode,
)
from aetransfer.data.contents import Contents, contents_of, form_of, is_ours, is_place
from aetransfer.errors import UserError

if TYPE_CHECKING:
    from aetransfer.data.examples import Examples, Split

# Of the trainer's settings beyond Training, those that change a transfer's numbers.
HARDWARE = ("accelerator", "devices", "num_nodes", "deterministic", "benchmark")
# What nodes are of that have not always had a class.
UNSAID = [("_target_", HEAD), ("_target_", ARM)]


def config_digest(job: Job) -> str:
    """Hash a resolved job's config into 10 hexadecimal digits. It is known where the data are not."""
    return _digest(decisive(job))[:10]


def identity(job: Job) -> str:
    """Return the digest of a job's config and, where its images don't come with a package, that of its data."""
    return "-".join([config_digest(job), *_data_digests(job)])


def identified(job: Job, *, again: bool = False, fetch: bool = True) -> Job:
    """Fill in the digests of the data that a resolved job uses.

    again, fetch: see `contents_of_data`. Raises UserError where data are not there, can't be read, or are not those
    that data.digest asks for.
    """
    job = job.model_copy(update={"data": _with_digest(job.data, job, "data", again, fetch)})
    if job.transfer is None or not job.transfer.carries or not isinstance(job.pretrain, Pretraining):
        return job
    source = _with_digest(job.pretrain.data, job, "pretrain.data", again, fetch)
    return job.model_copy(update={"pretrain": job.pretrain.model_copy(update={"data": source})})


def _with_digest(data: Data, job: Job, key: str, again: bool, fetch: bool) -> Data:
    found = contents_of_data(data, job.paths, job.allow, again=again, fetch=fetch).digest
    if data.digest not in (None, found):
        raise UserError(
            f"{key}.digest={data.digest}, but {data.name}{at_root(data)} has the digest {found}: these are other data."
        )
    data = data.model_copy(update={"digest": found})
    return with_shape(data, job.paths, job.allow)


def with_shape(data: Data, paths: Paths, allow: Sequence[str]) -> Data:
    """Fill in what one input of data is that were looked at, where their config doesn't state it."""
    if data.stated is not None:
        return data
    reader, read = data.reader.model_dump(by_alias=True), partial(_read, data, allow)
    shape, floats = form_of(reader, data.digest, read, paths.cache_dir)
    return data.model_copy(update={"shape": list(shape), "floats": floats})


def contents_of_data(
    data: Data, paths: Paths, allow: Sequence[str], *, again: bool = False, fetch: bool = True
) -> Contents:
    """Return what a data set holds.

    again: look at the files once more, though this process has. fetch: have its reader fetch what is not there, and
    read what no file tells. Raises UserError where files are not there or can't be read.
    """

    def look() -> Contents | None:
        places = {"data_dir": paths.data_dir, "cache_dir": paths.cache_dir}
        return contents_of(reader, read if fetch else None, **places, again=again)

    check_allowed(data.reader.target, "reader", allow)
    reader, read = data.reader.model_dump(by_alias=True), partial(_read, data, allow)
    found = look()
    if found is None and fetch:
        # The reader fetches the files, or says what it lacks.
        read("train")
        found = look()
    if found is None:
        raise UserError(
            f"the files of {data.name} are not there{at_root(data)}"
            if is_ours(reader)
            else f"the reader of {data.name} names no file, so that only reading tells what it gives"
        )
    return found


def at_root(data: Data) -> str:
    """Say where data lie, empty for those that come with a package."""
    root = data.reader.model_dump().get("root")
    return f" in {root}" if root else ""


def _read(data: Data, allow: Sequence[str], split: "Split") -> "Examples":
    # It imports the reader's module, and torch.
    from aetransfer.data.reader import read_split

    return read_split(bind(data.reader, "reader", allow), split)


def _data_digests(job: Job) -> list[str]:
    digests = [job.data.digest]
    if job.transfer is not None and job.transfer.carries and isinstance(job.pretrain, Pretraining):
        digests.append(job.pretrain.data.digest)
    if not any(digests):
        return []
    return [digests[0] or "" if len(digests) == 1 else _digest({"data": digests})[:8]]


def run_name(job: Job, digits: str | None = None) -> str:
    """Name a resolved job: pretrain-digits-ae-d128-s0-<identity>, transfer-cifar10-frozen-from-mnist-ae-d128-s0-...,
    and of fold 2 ...-s0-f2-...

    digits: what it ends in, where that is not its identity.
    """
    parts = [job.stage, job.data.name]
    if job.transfer is None:
        parts.append(job.model.name)
    else:
        parts.append(job.transfer.name)
        if job.transfer.carries and isinstance(job.pretrain, Pretraining):
            parts.append(f"from-{job.pretrain.data.name}-{job.pretrain.model.name}")
    if (latent_dim := job.encoder.latent_dim) is not None:
        parts.append(f"d{latent_dim}")
    fold = [] if job.data.fold is None else [f"f{job.data.fold}"]
    return "-".join([*parts, f"s{job.seed}", *fold, digits or identity(job)])


def decisive(job: Job) -> dict[str, Any]:
    """Return what decides the numbers of a resolved job, as plain data."""
    parts: dict[str, Any] = {
        "stage": job.stage,
        "seed": job.seed,
        "data": _data(job.data),
        "encoder": job.encoder.model_dump(by_alias=True),
        **_learning(job.model, job.optimizer, job.scheduler),
        "training": _training(job.trainer),
        "callbacks": [
            node.as_written() for _, node in sorted(job.callbacks.items()) if node is not None and not node.only_looks
        ],
    }
    if deciding := _deciding_metrics(job, parts["callbacks"]):
        parts["metrics"] = deciding
    if job.stage == "transfer":
        assert job.transfer is not None and job.head is not None
        parts["head"] = job.head.as_written()
        parts["arm"] = _arm(job.transfer)
        parts["hardware"] = {key: getattr(job.trainer, key) for key in HARDWARE}
        if job.transfer.carries:
            parts["source"] = _source(job.pretrain)
    elif job.pretrain is not None:
        parts["source"] = _source(job.pretrain)
    return parts


def _deciding_metrics(job: Job, callbacks: list[dict[str, Any]]) -> dict[str, Any]:
    """Return the metrics of a config by which an epoch is chosen or a training stops; the others only look."""
    named = json.dumps([job.model.monitor, callbacks], default=str)
    return {
        name: node.model_dump(by_alias=True, exclude={"words"})
        for name, node in sorted(job.metrics.items())
        if node is not None and f'"val/{name}"' in named
    }


def _arm(transfer: TransferNode) -> dict[str, Any]:
    """Leave out an arm's name and control, what only other arms heed, and what data and head already say."""
    arm = transfer.as_written()
    if isinstance(transfer, Transfer) and transfer.encoder == "frozen":
        del arm["layer_decay"]
    if isinstance(transfer, Transfer) and transfer.encoder != "gradual":
        del arm["unfrozen_by"]
    return arm


def _source(pretrain: Pretraining | GivenEncoder | None) -> dict[str, Any]:
    assert pretrain is not None
    if isinstance(pretrain, GivenEncoder):
        return {"given": pretrain.digest, **pretrain.model_dump(exclude={"path", "digest"})}
    return {
        "seed": pretrain.seed,
        "data": _data(pretrain.data),
        **_learning(pretrain.model, pretrain.optimizer, pretrain.scheduler),
        "head": None if pretrain.head is None else pretrain.head.as_written(),
        "training": _training(pretrain.trainer),
    }


def _learning(model: ModelNode, optimizer: OptimizerNode, scheduler: SchedulerNode | None) -> dict[str, Any]:
    return {
        "model": model.model_dump(by_alias=True, exclude={"name", "views"}) | {"views": _in_order(model.views)},
        "optimizer": optimizer.model_dump(by_alias=True),
        "scheduler": None if scheduler is None else scheduler.model_dump(by_alias=True),
    }


def _in_order(nodes: Mapping[str, Target | None] | None) -> list[dict[str, Any]] | None:
    """Return nodes of which the order decides, and not what they are called; None for none."""
    return [node.as_written() for node in (nodes or {}).values() if node is not None] or None


def images_identity(data: Data) -> str:
    """Hash what decides which images a measure sees, and which labels, into 6 hexadecimal digits."""
    trained = ("batch_size", "epoch_images", "augment")
    decides = {key: value for key, value in _data(data).items() if key not in trained}
    return _digest(decides | {"digest": data.digest})[:6]


def _data(data: Data) -> dict[str, Any]:
    kept = data.model_dump(
        by_alias=True, exclude={"workers", "max_memory_gb", "root", "digest", "shape", "floats", "augment"}
    )
    kept["augment"] = oldest_augment(_in_order(data.augment) or [])
    kept["reader"] = {key: value for key, value in kept["reader"].items() if not is_place(key, value)}
    return kept


def _training(trainer: Training) -> dict[str, Any]:
    return trainer.model_dump(include=set(Training.model_fields))


def _digest(content: dict[str, Any]) -> str:
    text = json.dumps(_canonical(content), sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


def _canonical(value: Any) -> Any:
    """Make 1 and 1.0 the same, an absent key and one that is null, and all names that a class has had."""
    if isinstance(value, dict):
        return {
            str(key): oldest(item) if key == "_target_" else _canonical(item)
            for key, item in value.items()
            if item is not None and (key, item) not in UNSAID
        }
    if isinstance(value, list | tuple):
        return [_canonical(item) for item in value]
    if isinstance(value, float) and value.is_integer():
        return int(value)
    return value
