"""Which jobs a sweep had, each in a file of its own in the sweep's directory, whatever process or machine ran it.

The files are replaced as a whole: `runs status` and `report` read them while the sweep goes on.
"""

import json
import time
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field, TypeAdapter, ValidationError

from aetransfer.errors import UserError
from aetransfer.files import read_json, replace_file
from aetransfer.printable import without_secrets

LOST = "It was killed or never began: the same command goes on where it stopped."
# Of the jobs that failed for one reason.
MOST_NAMED = 5


@dataclass(frozen=True)
class SweepJob:
    """overrides: as Hydra gave them. run: the run's directory, None where the job failed; error: why, in a sentence.

    seconds: how long it took, None for a run that was finished before, and in notes of earlier versions.
    """

    number: int
    overrides: list[str]
    run: str | None
    error: str | None
    seconds: float | None = None


_Job = TypeAdapter(SweepJob)
_Planned = TypeAdapter(dict[Annotated[str, Field(pattern=r"^[0-9]{1,9}$")], list[str]])


def log_of(sweep: Path, number: int) -> Path:
    """Return where a job prints."""
    return sweep / "jobs" / f"{number:05}.log"


def note_planned(sweep: Path, jobs: list[list[str]], first: int = 0) -> None:
    """Note the overrides of jobs that will be started, numbered from `first`."""
    planned = read_planned(sweep) | dict(enumerate(jobs, first))
    sweep.mkdir(parents=True, exist_ok=True)
    replace_file(sweep / "planned.json", json.dumps(without_secrets(planned), indent=2) + "\n")


def note_lost(sweep: Path) -> None:
    """Note as failed each planned job of which there is no word: its process was killed, or it never began."""
    noted = {job.number for job in read_jobs(sweep)}
    for number, overrides in read_planned(sweep).items():
        if number not in noted:
            note_job(sweep, SweepJob(number, overrides, None, LOST))


def note_job(sweep: Path, job: SweepJob) -> None:
    path = sweep / "jobs" / f"{job.number:05}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    replace_file(path, json.dumps(without_secrets(asdict(job)), indent=2) + "\n")


def is_sweep(directory: Path) -> bool:
    """Tell a sweep's directory from others, also before any of its jobs has ended."""
    return (directory / "planned.json").is_file() or (directory / "jobs").is_dir()


def read_jobs(sweep: Path) -> list[SweepJob]:
    """Return the jobs of which there is word. Raises UserError for a file that does not say what a job was."""
    return [read_job(path) for path in sorted((sweep / "jobs").glob("*.json"))]


def read_job(path: Path) -> SweepJob:
    job: SweepJob = _checked(_Job, path)
    return job


def read_planned(sweep: Path) -> dict[int, list[str]]:
    """Return the overrides of the jobs that were to be, by number. Empty for a sweep that noted none."""
    path = sweep / "planned.json"
    found = _checked(_Planned, path) if path.is_file() else {}
    return {int(number): overrides for number, overrides in found.items()}


def _checked(shape: TypeAdapter[Any], path: Path) -> Any:
    try:
        return shape.validate_python(read_json(path))
    except (OSError, ValueError) as error:
        reason = "its keys or values are not those of a job" if isinstance(error, ValidationError) else error
        raise UserError(f"{path} is damaged ({reason}): launch the sweep again.") from error


def store_of(sweep: Path) -> Path:
    """<output>/sweeps/<time> stands beside <output>/runs, wherever the store was moved since."""
    return sweep.absolute().parent.parent / "runs"


# What jobs are called, and why they failed, where a person reads of many of them.


def labels(planned: Mapping[int, list[str]]) -> dict[int, str]:
    """Return what tells each job from the others: `finetune lr=1e-3 seed=0` of transfer=, optimizer.lr= and seed=."""
    # Hydra writes progress=true as progress=True in what it gives a job.
    shared = set.intersection(*({word.lower() for word in words} for words in planned.values())) if planned else set()
    own = {number: [_short(word) for word in words if word.lower() not in shared] for number, words in planned.items()}
    return {number: " ".join(words) or f"job {number}" for number, words in own.items()}


def names_of_runs(sweep: Path) -> dict[str, str]:
    """Return the label of each run of a sweep, by the run's name. Jobs of one run are called by what they share."""
    jobs = read_jobs(sweep)
    words = read_planned(sweep) | {job.number: job.overrides for job in jobs}
    numbers: dict[str, int] = {}
    for job in jobs:
        if job.run is not None:
            first = numbers.setdefault(Path(job.run).name, job.number)
            if first != job.number:
                words[first] = [word for word in words[first] if word in job.overrides]
                del words[job.number]
    said = labels(words)
    times = Counter(said[number] for number in numbers.values())
    return {
        run: said[number] if times[said[number]] == 1 else f"{said[number]} job {number}"
        for run, number in numbers.items()
    }


def _short(word: str) -> str:
    """Write `optimizer.lr=0.001` as `lr=0.001`, and a choice such as `transfer=finetune` as `finetune`."""
    key, _, value = word.lstrip("+~").partition("=")
    value = value.rstrip("/").rpartition("/")[2]
    is_choice = "." not in key.partition("@")[0] and value.isidentifier() and value not in ("null", "true", "false")
    return value if is_choice else f"{key.rpartition('.')[2]}={value}"


def causes(failures: Iterable[tuple[str, str]]) -> list[str]:
    """Say why each of many failed, those of one cause in one entry. failures: a job's label, and why, in a sentence."""
    found: dict[str, list[str]] = {}
    for label, why in failures:
        found.setdefault(why, []).append(label)
    entries = []
    for why, which in found.items():
        if len(which) == 1:
            entries.append(": ".join(filter(None, (which[0], why))))
        else:
            entries.append(f"{len(which)} x {': '.join(filter(None, (why.rstrip('.'), _in_common(which))))}")
    return entries


def _in_common(which: Sequence[str]) -> str:
    """Say which jobs are meant by the words that all of them have, else by naming the first."""
    first, *others = (label.split(" ") for label in which)
    common = [word for word in first if all(word in other for other in others)]
    return " ".join(common) or "; ".join(which[:MOST_NAMED]) + ("; ..." if len(which) > MOST_NAMED else "")


def seconds_left(jobs: list[SweepJob], planned: int, since: float) -> float | None:
    """Return how long the rest of a sweep takes if it goes on like this; None before the first job is done.

    since: the time at which it began. Jobs that were finished before took no time, and say nothing of the others.
    """
    worked = sum(job.seconds is not None for job in jobs)
    return (time.time() - since) / worked * (planned - len(jobs)) if worked else None
