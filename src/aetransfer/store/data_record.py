"""Which data a run was started on: `data.json` beside it, and the files' checksums once for all runs of a store."""

import gzip
import json
import logging
from collections.abc import Sequence
from pathlib import Path

from aetransfer.config.schema import Data, Job, Paths
from aetransfer.data.contents import Contents, checksum_of
from aetransfer.data.examples import Examples
from aetransfer.errors import UserError
from aetransfer.files import read_bytes, replace_file
from aetransfer.store.checkpoints import ContinuationError
from aetransfer.store.directory import RunDirectory
from aetransfer.store.identity import at_root, config_digest, contents_of_data, identified, run_name

log = logging.getLogger(__name__)

SHOWN = 3
# Of a larger training split as many evenly spaced images are looked at: reading all would delay the start.
MOST_BYTES = 1 << 30


def note_data(directory: RunDirectory, job: Job, images: Examples) -> None:
    """Write down what a run is started on. images: its training split, as its reader gave it.

    A data set of 60,000 files has a list of two megabytes, so runs share it.
    """
    if job.data.digest is not None:
        listing = _listing(directory, job.data.digest)
        if not listing.exists():
            listing.parent.mkdir(exist_ok=True)
            checksums = contents_of_data(job.data, job.paths, job.allow).checksums
            replace_file(listing, gzip.compress(json.dumps(checksums).encode(), mtime=0))
    noted = {"digest": job.data.digest, "images": checksum_of(images, MOST_BYTES)}
    replace_file(directory.data, json.dumps(noted) + "\n")


def check_data(directory: RunDirectory, job: Job, images: Examples) -> None:
    """Raise ContinuationError where a run's training images are read as others than when it was started.

    Their files are the same, or the run would have another name: a reader, or a library, has changed.
    """
    if directory.data.is_file() and json.loads(directory.data.read_text())["images"] != checksum_of(images, MOST_BYTES):
        raise ContinuationError(
            f"{directory.path.name} was begun on images that the reader of {job.data.name}{at_root(job.data)} now "
            f"gives otherwise, from the same files: rerun=true begins {directory.path.name} afresh."
        )


def check_unchanged(directory: RunDirectory, job: Job) -> None:
    """Raise UserError where files were changed after they gave the run its name."""
    try:
        identified(job, again=True)
    except UserError as error:
        raise UserError(
            f"The data of {directory.path.name} were changed while the command ran ({error}): give it again."
        ) from error


def changes_since(directory: RunDirectory, data: Data, now: Contents) -> str:
    """Say in a few words how data differ from what a run was trained on; empty where they don't, or nobody knows.

    data: the run's own, as its config has them. now: what they hold today.
    """
    if data.digest in (None, now.digest):
        return ""
    listing = _listing(directory, str(data.digest))
    try:
        before = Contents(dict(json.loads(gzip.decompress(read_bytes(listing)))))
    except (OSError, ValueError):
        # A run directory that was carried elsewhere comes without the list.
        return f"their digest is {now.digest} and was {data.digest}"
    changed = before.changed_in(now)
    return ", ".join(changed[:SHOWN]) + (f" and {len(changed) - SHOWN:,} more" if len(changed) > SHOWN else "")


def say_other_data(directory: RunDirectory, job: Job) -> None:
    """Say so where a run that begins has the config of others, which had other data."""
    for path in sorted(directory.path.parent.glob(f"{run_name(job, config_digest(job))}-*")):
        other = RunDirectory(path)
        if path == directory.path or other.is_superseded or not other.config.is_file():
            continue
        own = other.read_config().data
        changes = changes_since(other, own, contents_of_data(job.data, job.paths, job.allow))
        log.info("%s had other data (%s): this is a run of its own.", path.name, changes or "those of its pretraining")


def warn_of_changes(run: Path, data: Data, paths: Paths, allow: Sequence[str]) -> None:
    """Say so where data that a run's network is applied to lie where its own did, and are no longer those."""
    directory = RunDirectory(run)
    if not directory.config.is_file():
        return
    own = directory.read_config().data
    if (own.name, at_root(own)) != (data.name, at_root(data)):
        return
    if changes := changes_since(directory, own, contents_of_data(data, paths, allow)):
        log.warning("%s was trained on other data than there are now%s (%s).", run, at_root(data), changes)


def _listing(directory: RunDirectory, digest: str) -> Path:
    return directory.path.parent / ".data" / f"{Path(digest).name}.json.gz"
