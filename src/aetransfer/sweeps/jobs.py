"""Which jobs a sweep had, each in a file of its own in the sweep's directory, whatever process or machine ran it."""

import json
from dataclasses import asdict, dataclass
from pathlib import Path

LOST = "It was killed or never began: the same command goes on where it stopped."


@dataclass(frozen=True)
class SweepJob:
    """overrides: as Hydra gave them. run: the run's directory, None where the job failed; error: why, in a sentence."""

    number: int
    overrides: list[str]
    run: str | None
    error: str | None

    @property
    def choices(self) -> dict[str, str]:
        """Return what the overrides set, by key."""
        return dict(override.lstrip("+").partition("=")[::2] for override in self.overrides)


def note_planned(sweep: Path, jobs: list[list[str]], first: int = 0) -> None:
    """Note the overrides of jobs that will be started, numbered from `first`."""
    planned = read_planned(sweep) | {str(number): overrides for number, overrides in enumerate(jobs, first)}
    sweep.mkdir(parents=True, exist_ok=True)
    (sweep / "planned.json").write_text(json.dumps(planned, indent=2) + "\n")


def note_lost(sweep: Path) -> None:
    """Note as failed each planned job of which there is no word: its process was killed, or it never began."""
    noted = {job.number for job in read_jobs(sweep)}
    for number, overrides in read_planned(sweep).items():
        if int(number) not in noted:
            note_job(sweep, SweepJob(int(number), overrides, None, LOST))


def note_job(sweep: Path, job: SweepJob) -> None:
    (sweep / "jobs").mkdir(parents=True, exist_ok=True)
    (sweep / "jobs" / f"{job.number:05}.json").write_text(json.dumps(asdict(job), indent=2) + "\n")


def read_jobs(sweep: Path) -> list[SweepJob]:
    return [SweepJob(**json.loads(path.read_text())) for path in sorted((sweep / "jobs").glob("*.json"))]


def read_planned(sweep: Path) -> dict[str, list[str]]:
    """Return the overrides of the jobs that were to be, by number. Empty for a sweep that noted none."""
    path = sweep / "planned.json"
    return json.loads(path.read_text()) if path.is_file() else {}
