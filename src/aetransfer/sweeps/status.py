"""How far a sweep is, job by job, whatever launcher runs it: from what its jobs and runs have noted, and for a queued
one from what Slurm says of those that have noted nothing yet.
"""

import json
from dataclasses import asdict, dataclass
from datetime import timedelta
from pathlib import Path

from aetransfer.config.shapes import noun_of, shape_in
from aetransfer.errors import UserError
from aetransfer.files import last_lines, replace_file
from aetransfer.report.collect import moved, store_of
from aetransfer.store.directory import RunDirectory
from aetransfer.store.finished import UNTESTED, is_untested
from aetransfer.store.lock import Claim
from aetransfer.store.query import StoredRun, read
from aetransfer.sweeps.jobs import SweepJob, read_jobs, read_planned
from aetransfer.sweeps.queue import Standing, read_queued, standings

LOG_LINES = 5
# Slurm's words for a job that it will start, or start again, by itself, and for one that works.
WAITING = ("PENDING", "CONFIGURING", "REQUEUED", "REQUEUE_HOLD", "REQUEUE_FED", "SUSPENDED", "PREEMPTED")
WORKING = ("RUNNING", "COMPLETING", "SIGNALING", "STAGE_OUT")


@dataclass(frozen=True)
class JobStatus:
    """status: finished, running, queued, failed or interrupted. detail: how far, or why. run: its last, or None."""

    number: int
    overrides: list[str]
    status: str
    detail: str
    run: StoredRun | None = None
    output: Path | None = None

    @property
    def log_tail(self) -> list[str]:
        """Return the last lines of the run's log, or of what the job printed where it came to no run."""
        log = RunDirectory(self.run.path).log if self.run else self.output
        return [] if log is None else last_lines(log, LOG_LINES)


def note_process(sweep: Path) -> None:
    """Note which process starts the sweep's jobs, so that others can tell whether it still does."""
    replace_file(sweep / "process.json", json.dumps(asdict(Claim.mine())) + "\n")


def newest_sweep(output_dir: Path) -> Path:
    """Return the sweep that began last. Raises UserError where there is none."""
    sweeps = sorted(path.parent for path in (output_dir / "sweeps").glob("*/planned.json"))
    if not sweeps:
        raise UserError(f"There is no sweep in {output_dir / 'sweeps'}: name one, or another paths.output_dir.")
    return sweeps[-1]


def status_of(sweep: Path) -> list[JobStatus]:
    """Tell how far each job of a sweep is. Raises UserError for a directory that is no sweep's."""
    planned = read_planned(sweep)
    if not planned:
        raise UserError(f"{sweep} is no sweep's directory: it has no planned.json.")
    noted = {job.number: job for job in read_jobs(sweep)}
    queued = read_queued(sweep)
    ids = queued.jobs if queued else {}
    told = standings(id for number, id in ids.items() if int(number) not in noted)
    begun = _begun_runs(store_of(sweep), {tuple(overrides) for overrides in planned.values()})
    alive = _starts_jobs(sweep)
    statuses = []
    for key, overrides in planned.items():
        number, run, slurm = int(key), begun.get(tuple(overrides)), ids.get(key)
        output = _output(sweep, slurm)
        if number in noted:
            statuses.append(_ended(noted[number], run, output, store_of(sweep)))
        elif slurm in told:
            statuses.append(_queued(number, overrides, told[slurm], run, output))
        else:
            # Slurm forgets an array's job that was cancelled before it began.
            statuses.append(_unqueued(number, overrides, run, waits=slurm is None and alive))
    return statuses


def _begun_runs(store: Path, wanted: set[tuple[str, ...]]) -> dict[tuple[str, ...], StoredRun]:
    """Return the run that was last worked on for each job's overrides: its own, or the pretraining it makes first."""
    last: dict[tuple[str, ...], StoredRun] = {}
    for path in store.glob("*/result.json"):
        try:
            overrides = tuple(json.loads(path.read_bytes())["overrides"])
            if overrides not in wanted:
                continue
        except (OSError, ValueError, LookupError, TypeError):
            # Its own job finds out, and says so.
            continue
        run = read(path.parent)
        last[overrides] = max(last.get(overrides, run), run, key=_lateness)
    return last


def _lateness(run: StoredRun) -> tuple[bool, bool, str]:
    """Order the runs of one job. Their times come last, for they may be of hosts whose clocks differ."""
    return run.status == "running", run.result.get("stage") == "transfer", str(run.result.get("heartbeat"))


def _starts_jobs(sweep: Path) -> bool:
    """Tell whether the process that starts the sweep's jobs is there, as far as this machine can know."""
    path = sweep / "process.json"
    return path.is_file() and not Claim(**json.loads(path.read_text())).is_gone()


def _ended(job: SweepJob, begun: StoredRun | None, output: Path | None, store: Path) -> JobStatus:
    if job.error is not None or job.run is None:
        return JobStatus(job.number, job.overrides, "failed", job.error or "", begun, output)
    run = read(moved(job.run, store))
    detail = run.damage or f"{_measured(run)}{_took(run)}"
    return JobStatus(job.number, job.overrides, run.status, detail, run, output)


def _queued(
    number: int, overrides: list[str], standing: Standing, run: StoredRun | None, output: Path | None
) -> JobStatus:
    if standing.state in WORKING:
        works = run is not None and run.status == "running"
        return JobStatus(number, overrides, "running", _progress(run) if run and works else "starting", run, output)
    if standing.state in WAITING:
        again = f", goes on at {_progress(run, brief=True)}" if run and run.status != "finished" else ""
        return JobStatus(number, overrides, "queued", f"{standing.reason or standing.state}{again}", run, output)
    detail = f"{standing.state.lower()}: the same command goes on"
    return JobStatus(number, overrides, "interrupted", detail, run, output)


def _unqueued(number: int, overrides: list[str], run: StoredRun | None, *, waits: bool) -> JobStatus:
    if run is not None and run.status == "running":
        return JobStatus(number, overrides, "running", _progress(run), run)
    if waits:
        return JobStatus(number, overrides, "queued", "")
    return JobStatus(number, overrides, "interrupted", "the same command goes on", run)


def _progress(run: StoredRun, brief: bool = False) -> str:
    progress = run.result.get("progress") or {}
    if not progress:
        return "its beginning" if brief else f"{run.stage}, starting"
    epoch = f"{run.stage} epoch {progress['epoch']}/{progress['epochs']}"
    if brief:
        return epoch
    speed = f"{progress['images_per_second']:,.0f} {noun_of(shape_in(run.config))}/s"
    return f"{epoch}, {speed}, {_clock(progress['seconds_left'])} left"


def _measured(run: StoredRun) -> str:
    value = run.result.get("metrics", {}).get(run.main_metric)
    if is_untested(run.result):
        return UNTESTED
    return "" if value is None else f"{run.main_metric.removeprefix('test/')} {value:.4g}"


def _took(run: StoredRun) -> str:
    seconds = run.result.get("timing", {}).get("seconds")
    return "" if seconds is None else f" in {_clock(seconds)}"


def _clock(seconds: float) -> str:
    return str(timedelta(seconds=round(seconds)))


def _output(sweep: Path, slurm: str | None) -> Path | None:
    """Return where submitit puts what a job prints to standard error."""
    return None if slurm is None else sweep / ".submitit" / slurm / f"{slurm}_0_log.err"
