"""What is done already and need not be done again. Nothing here imports torch: to find that out must take no time."""

import hashlib
import logging
import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from aetransfer.config.schema import Job
from aetransfer.errors import UserError
from aetransfer.store.directory import RunDirectory

log = logging.getLogger(__name__)

# When the command began, for all processes that it starts: rerun=true does each run afresh once, however many jobs ask.
COMMAND_BEGAN = "AETRANSFER_COMMAND_BEGAN"
# Of a search's run, in its result.json: finished without a test, because what chooses settings must not see the test
# split. A later command with the same config tests the best epoch, and trains nothing.
UNTESTED = "untested"


@dataclass(frozen=True)
class Run:
    """A finished run: where it lies and what its result.json says."""

    directory: RunDirectory
    result: dict[str, Any]


def is_finished(directory: RunDirectory) -> bool:
    result = directory.result()
    return result is not None and result["status"] == "finished"


def is_untested(result: dict[str, Any]) -> bool:
    """Tell whether a result.json, which anybody may have written, is that of a run which a search has finished."""
    says = all(isinstance(result.get(part), dict) for part in ("metrics", "counts", "timing"))
    return says and result.get(UNTESTED) is True


def is_left_to_test(directory: RunDirectory, job: Job) -> bool:
    """Tell whether a run is finished but for the test that the job wants of it, which may have been cut off too."""
    result = directory.result()
    return result is not None and is_untested(result) and job.test != "left_out" and not job.rerun


def finished_run(job: Job) -> Run | None:
    """Return an identified job's run if it is finished and may be used. Raises UserError where reuse=same_code forbids.

    None for one that a search has left untested, where the job wants its test. Where rerun asks for it afresh, a run
    that this very command has made is used.
    """
    directory = RunDirectory.of(job)
    if not is_finished(directory) or is_left_to_test(directory, job):
        return None
    result = directory.result()
    assert result is not None
    if job.rerun and not _is_of_this_command(result):
        return None
    _check_code(directory, result, job, done="made", use="used")
    log.info("%s is finished: its result is used.", directory.path.name)
    _say_unmeasured(directory, job)
    return Run(directory, result)


def _say_unmeasured(directory: RunDirectory, job: Job) -> None:
    """Warn of metrics that a job asks for and a finished run was not measured by, or by others of their names."""
    measured = directory.read_config().metrics if job.metrics else {}
    if missing := [name for name, node in job.metrics.items() if node is not None and measured.get(name) != node]:
        log.warning(
            "%s was made without %s: python -m aetransfer.evaluate run=%s metrics=[%s] measures it, and rerun=true "
            "trains it again.",
            directory.path.name,
            " and ".join(f"metrics.{name}" for name in missing),
            directory.path,
            ",".join(missing),
        )


def check_continued(directory: RunDirectory, job: Job) -> None:
    """Warn of a run that other code began and this one continues. Raises UserError where reuse=same_code forbids it."""
    result = directory.result()
    if result is not None:
        _check_code(directory, result, job, done="begun", use="continued")


def note_command_began() -> None:
    os.environ[COMMAND_BEGAN] = datetime.now(UTC).isoformat(timespec="milliseconds")


def _is_of_this_command(result: dict[str, Any]) -> bool:
    try:
        return datetime.fromisoformat(result["timing"]["started"]) >= datetime.fromisoformat(os.environ[COMMAND_BEGAN])
    except (LookupError, TypeError, ValueError):
        return False


@cache
def code_version() -> str:
    """Name this code: the package's version and a digest of its sources, which two states of one version differ in."""
    package = Path(__file__).parents[1]
    return f"{version('aetransfer')}+{_digest_of_sources(package, package.rglob('*.py'))}"


def own_code(allow: Sequence[str]) -> dict[str, str]:
    """Name the code of the packages that a command allows: a digest of the sources of each, by its name."""
    return {name: digest for name in sorted({each.partition(".")[0] for each in allow}) if (digest := _own_code(name))}


@cache
def _own_code(package: str) -> str | None:
    # To find a package imports nothing.
    spec = find_spec(package)
    if spec is None:
        return None  # whoever builds something from it says so
    folders = list(spec.submodule_search_locations or [])
    if not folders:
        return _digest_of_sources(Path(str(spec.origin)).parent, [Path(str(spec.origin))])
    return _digest_of_sources(Path(folders[0]), (path for folder in folders for path in Path(folder).rglob("*.py")))


def _digest_of_sources(top: Path, files: Iterable[Path]) -> str:
    digest = hashlib.sha256()
    for path in sorted(files):
        digest.update(os.path.relpath(path, top).encode() + b"\0" + path.read_bytes())
    return digest.hexdigest()[:10]


def _check_code(directory: RunDirectory, result: dict[str, Any], job: Job, *, done: str, use: str) -> None:
    own = result.get("own_code")
    theirs = {**(own if isinstance(own, dict) else {}), "aetransfer": result.get("code")}
    ours = {"aetransfer": code_version(), **own_code(job.allow)}
    differing = [name for name in ours if theirs.get(name) != ours[name]]
    if not differing:
        return
    before = ", ".join(f"{name} {theirs.get(name) or 'of an unknown state'}" for name in differing)
    what = f"{directory.path.name} was {done} by {before}, this is {', '.join(str(ours[name]) for name in differing)}"
    if job.reuse == "same_code":
        raise UserError(f"{what}: rerun=true makes it afresh, reuse=any_code has it {use}.")
    log.warning("%s: it is %s all the same.", what, use)
