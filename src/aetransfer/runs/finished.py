"""What is done already and need not be done again. Nothing here imports torch: to find that out must take no time."""

import hashlib
import logging
from dataclasses import dataclass
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import Any

from aetransfer.config.schema import Job
from aetransfer.errors import UserError
from aetransfer.runs.directory import RunDirectory

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Run:
    """A finished run: where it lies and what its result.json says."""

    directory: RunDirectory
    result: dict[str, Any]


@cache
def code_version() -> str:
    """Name this code: the package's version and a digest of its sources, which two states of one version differ in."""
    package = Path(__file__).parents[1]
    digest = hashlib.sha256()
    for path in sorted(package.rglob("*.py")):
        digest.update(path.relative_to(package).as_posix().encode() + b"\0" + path.read_bytes())
    return f"{version('aetransfer')}+{digest.hexdigest()[:10]}"


def is_finished(directory: RunDirectory) -> bool:
    result = directory.result()
    return result is not None and result["status"] == "finished"


def finished_run(directory: RunDirectory, job: Job) -> Run | None:
    """Return the job's run if it is finished and may be used. Raises UserError where reuse=same_code forbids it."""
    if job.rerun or not is_finished(directory):
        return None
    result = directory.result()
    assert result is not None
    _check_code(directory, result, job, done="made", use="used")
    log.info("%s is finished: its result is used.", directory.path.name)
    return Run(directory, result)


def check_begun(directory: RunDirectory, job: Job) -> None:
    """Warn of a run that other code began and this one continues. Raises UserError where reuse=same_code forbids it."""
    result = directory.result()
    if result is not None:
        _check_code(directory, result, job, done="begun", use="continued")


def _check_code(directory: RunDirectory, result: dict[str, Any], job: Job, *, done: str, use: str) -> None:
    theirs, ours = result.get("code"), code_version()
    if theirs == ours:
        return
    what = f"{directory.path.name} was {done} by aetransfer {theirs}, this is {ours}"
    if job.reuse == "same_code":
        raise UserError(f"{what}: rerun=true makes it afresh, reuse=any_code has it {use}.")
    log.warning("%s: it is %s all the same.", what, use)
