"""Finished runs of stores from before data had a digest: named by their config alone, with a list of their files."""

import gzip
import json
from pathlib import Path

from aetransfer.config.schema import Data, Job, Pretraining
from aetransfer.data.contents import files_of_reader
from aetransfer.data.locations import CIFAR10_CLASS_FOLDERS
from aetransfer.runs.directory import RunDirectory
from aetransfer.runs.identity import config_digest, run_name
from aetransfer.runs.plain import read_bytes, read_json
from aetransfer.transfer.settle import pretraining_of

# Class folders are not among those whose runs are found: their images may be read otherwise today.
READ_AS_BEFORE = {
    f"aetransfer.data.readers.{name}"
    for name in (
        *("embedded.read_digits", "embedded.read_photo_digits", "idx.read_mnist", "idx.read_fashion_mnist"),
        *("cifar.read_cifar10", "cifar.read_cifar100"),
    )
}


def earlier_run(job: Job) -> RunDirectory | None:
    """Return where such a store has an identified job, if its files have the sizes and times that they had then."""
    directory = RunDirectory(RunDirectory.of(job).path.with_name(run_name(job, config_digest(job))))
    if not directory.path.is_dir() or not _has_files_of(directory, job.data, job.paths.data_dir):
        return None
    carries = job.transfer is not None and job.transfer.carries and isinstance(job.pretrain, Pretraining)
    return directory if not carries or earlier_run(pretraining_of(job)) is not None else None


def _has_files_of(directory: RunDirectory, data: Data, data_dir: Path) -> bool:
    reader = data.reader.model_dump(by_alias=True)
    if reader["_target_"] not in READ_AS_BEFORE:
        return False
    if data.digest is None:
        return True
    try:
        noted = read_json(directory.data)
        listing = directory.path.parent / ".data" / f"{Path(noted['files']).name}.json.gz"
        before = json.loads(gzip.decompress(read_bytes(listing)))
        root = Path(str(reader["root"]))
        now = {
            Path(file.path).relative_to(root).as_posix(): [file.size, file.modified]
            for file in files_of_reader(reader, data_dir) or ()
        }
        # In a class folder an image that is gone makes other data; a file beside MNIST's four is none of them.
        images = {path for path in before if path.startswith(f"{CIFAR10_CLASS_FOLDERS}/")}
        return bool(now) and images <= now.keys() and all(before.get(path) == stamp for path, stamp in now.items())
    except (OSError, ValueError, LookupError, TypeError, AttributeError):
        # A list that is gone or damaged says nothing of the data.
        return False
