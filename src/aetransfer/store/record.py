"""What a run writes of itself: `result.json` from its first second, with a heartbeat, and `data.json`, its data."""

import gzip
import json
import logging
import os
import platform
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch

from aetransfer.config.commands import config_dir
from aetransfer.config.schema import Data, Job, Paths
from aetransfer.data.contents import Contents, checksum_of
from aetransfer.data.examples import Examples
from aetransfer.errors import UserError
from aetransfer.files import read_bytes, replace_file
from aetransfer.models.facts import ModelFacts
from aetransfer.store.directory import ContinuationError, RunDirectory
from aetransfer.store.finished import UNTESTED, code_version, own_code
from aetransfer.store.identity import at_root, config_digest, contents_of_data, identified, identity, run_name

log = logging.getLogger(__name__)

PACKAGES = (
    "aetransfer",
    "torch",
    "torchvision",
    "pytorch-lightning",
    "torchmetrics",
    "hydra-core",
    "omegaconf",
    "numpy",
)


def provenance(allow: Sequence[str]) -> dict[str, Any]:
    """Return what is needed to reproduce a run, or to doubt it: versions, code, commit, command, hardware.

    allow: the packages, beside the program's own, whose code decides the numbers too.
    """
    return {
        "versions": _versions(),
        "code": code_version(),
        "own_code": own_code(allow),
        "git": _git(),
        "command": sys.argv,
        "hardware": _hardware(),
    }


def _versions() -> dict[str, str]:
    return {"python": platform.python_version()} | {package: version(package) for package in PACKAGES}


def _git() -> dict[str, Any] | None:
    """Return the commit of the repository that the command runs in, and whether files differ from it.

    None where it runs in none, or there is no git.
    """

    def git(*words: str) -> str:
        return subprocess.run(["git", *words], capture_output=True, text=True, check=True).stdout.strip()

    try:
        return {"commit": git("rev-parse", "HEAD"), "dirty": bool(git("status", "--porcelain", "--untracked-files=no"))}
    except (OSError, subprocess.CalledProcessError):
        return None


def _hardware() -> dict[str, Any]:
    return {
        "host": socket.gethostname(),
        "machine": platform.machine(),
        "cpus": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "threads": torch.get_num_threads(),
        "gpus": [torch.cuda.get_device_name(index) for index in range(torch.cuda.device_count())],
    }


class Record:
    """Writes a run's result.json: running, then finished, failed or interrupted."""

    def __init__(
        self,
        directory: RunDirectory,
        job: Job,
        source: str | None,
        overrides: list[str],
        progress: Callable[[], dict[str, Any]],
    ) -> None:
        self.directory = directory
        self._progress = progress
        self._writing = threading.Lock()
        self._since = time.perf_counter()
        self.content: dict[str, Any] = {
            "status": "running",
            "name": directory.path.name,
            "identity": identity(job),
            "stage": job.stage,
            "arm": job.transfer.name if job.transfer else None,
            "seed": job.seed,
            "source": source,
            "metrics": {},
            "counts": {},
            "timing": {"started": datetime.now(UTC).isoformat(timespec="milliseconds")},
            "overrides": overrides,
            "config_dir": config_dir(),
            **provenance(job.allow),
        }
        self.beat()

    def describe(self, model: ModelFacts) -> None:
        """Note what the run's model is, from the next heartbeat on."""
        with self._writing:
            self.content["model"] = model.model_dump()

    def keep_training_of(self, earlier: dict[str, Any]) -> None:
        """Keep what a run that is only tested now has said of its training. earlier: its result.json."""
        seconds = earlier["timing"].get("seconds")
        self._since -= seconds if isinstance(seconds, int | float) else 0.0
        with self._writing:
            self.content |= {key: earlier[key] for key in ("metrics", "counts", "timing", UNTESTED)}

    def beat(self) -> None:
        now = datetime.now(UTC).isoformat(timespec="seconds")
        with self._writing:
            if self.content["status"] == "running":
                self.content |= {"heartbeat": now, "progress": self._progress()}
                self.directory.write_result(self.content)

    def give_up(self, status: str, trained: dict[str, Any] | None, **more: Any) -> None:
        """Close a run that has not come to its end; one that was trained before, and only tested now, stays finished.

        trained: the result.json of such a run.
        """
        if trained is None:
            self.close(status, **more)
            return
        with self._writing:
            self.content = {**trained, "status": "finished"}
            self.directory.write_result(self.content)

    def close(self, status: str, **more: Any) -> dict[str, Any]:
        """Write the last word on the run and return it; `more` is merged in, `timing` into what stands there."""
        timing = self.content["timing"] | more.pop("timing", {})
        timing["seconds"] = round(time.perf_counter() - self._since, 3)
        with self._writing:
            self.content |= {"status": status, "progress": self._progress(), **more, "timing": timing}
            if status == "finished":
                del self.content["progress"]
                if UNTESTED not in more:
                    self.content.pop(UNTESTED, None)
            self.directory.write_result(self.content)
        return self.content


# Which data a run was started on: `data.json` beside it, and the files' checksums once for all runs of a store.

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
