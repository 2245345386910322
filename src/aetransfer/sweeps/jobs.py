"""Which jobs a sweep had, each in a file of its own in the sweep's directory, whatever process or machine ran it."""

import json
from dataclasses import asdict, dataclass
from pathlib import Path


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


def note_job(sweep: Path, job: SweepJob) -> None:
    (sweep / "jobs").mkdir(parents=True, exist_ok=True)
    (sweep / "jobs" / f"{job.number:05}.json").write_text(json.dumps(asdict(job), indent=2) + "\n")


def read_jobs(sweep: Path) -> list[SweepJob]:
    return [SweepJob(**json.loads(path.read_text())) for path in sorted((sweep / "jobs").glob("*.json"))]
