"""How far a sweep is, job by job, whatever launcher runs it: from what its jobs and runs have noted, and for a queued
one from what Slurm says of those that have noted nothing yet.
"""

import json
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

from aetransfer.errors import UserError
from aetransfer.files import last_lines, replace_file
from aetransfer.printable import duration, printable
from aetransfer.store.listing import print_table, say
from aetransfer.store.lock import Claim
from aetransfer.store.query import chosen
from aetransfer.store.run import StoredRun, moved, read
from aetransfer.sweeps.jobs import (
    SweepJob,
    causes,
    labels,
    log_of,
    read_job,
    read_jobs,
    read_planned,
    seconds_left,
    store_of,
)
from aetransfer.sweeps.queue import Standing, read_queued, standings

LOG_LINES = 5
# What a running run says of itself.
PROGRESS = ("epoch", "epochs", "images_per_second", "seconds_left")
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
    def log(self) -> Path | None:
        """Return the run's log, or what the job printed where it came to no run."""
        return self.run.directory.log if self.run else self.output

    @property
    def settings(self) -> dict[str, Any]:
        """Return what the overrides set, by dotted key."""
        set_to = (override.lstrip("+").partition("=") for override in self.overrides)
        return {key: yaml.safe_load(value) for key, _, value in set_to}


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
    for number, overrides in planned.items():
        job, run, slurm = noted.get(number), begun.get(tuple(overrides)), ids.get(str(number))
        if job is not None and job.run is not None:
            run = read(moved(job.run, store_of(sweep)))
        # Slurm forgets an array's job that was cancelled before it began.
        status, detail = _how_far(job, told.get(slurm or ""), run, waits=slurm is None and alive)
        statuses.append(JobStatus(number, overrides, status, detail, run, _output(sweep, number, slurm)))
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


def _how_far(job: SweepJob | None, standing: Standing | None, run: StoredRun | None, *, waits: bool) -> tuple[str, str]:
    """Return a job's status, and its detail. job: what it noted at its end. standing: what Slurm says of it."""
    if job is not None:
        if job.run is None or run is None:
            return "failed", job.error or ""
        seconds = None
        # A file that somebody has changed by hand costs its time, not the whole list.
        with suppress(ValidationError):
            seconds = run.facts.timing.seconds
        return run.status, run.damage or f"{run.measured()}{'' if seconds is None else f' in {duration(seconds)}'}"
    works = run is not None and run.status == "running"
    if standing is None:
        if run is not None and works:
            return "running", _progress(run)
        return ("queued", "") if waits else ("interrupted", "the same command goes on")
    if standing.state in WORKING:
        return "running", _progress(run) if run and works else "starting"
    if standing.state in WAITING:
        again = f", goes on at {_progress(run, brief=True)}" if run and run.status != "finished" else ""
        return "queued", f"{standing.reason or standing.state}{again}"
    return "interrupted", f"{standing.state.lower()}: the same command goes on"


def _progress(run: StoredRun, brief: bool = False) -> str:
    progress = run.result.get("progress")
    if not isinstance(progress, dict) or not all(isinstance(progress.get(key), int | float) for key in PROGRESS):
        return "its beginning" if brief else f"{run.stage}, starting"
    epoch = f"{run.stage} epoch {progress['epoch']}/{progress['epochs']}"
    if brief:
        return epoch
    speed = f"{progress['images_per_second']:,.0f} {run.noun}/s"
    return f"{epoch}, {speed}, {timedelta(seconds=round(progress['seconds_left']))} left"


def _output(sweep: Path, number: int, slurm: str | None) -> Path:
    """Return what a job printed; where it never came to that, what submitit has of it."""
    log = log_of(sweep, number)
    return log if slurm is None or log.is_file() else sweep / ".submitit" / slurm / f"{slurm}_0_log.err"


def chosen_jobs(jobs: Sequence[JobStatus], words: Sequence[str]) -> list[JobStatus]:
    """Return the jobs for which all filters hold. Raises UserError for a key that none of them has.

    A job that has not begun is known by its overrides alone.
    """
    asked = [word for word in words if word.startswith("status=")]
    runs = [job.run or StoredRun(Path(str(job.number)), job.settings, {"status": job.status}) for job in jobs]
    found = {id(run) for run in chosen(runs, [word for word in words if word not in asked])}
    of_status = [set(word.partition("=")[2].split(",")) for word in asked]
    return [
        job
        for job, run in zip(jobs, runs, strict=True)
        if id(run) in found and all(job.status in statuses for statuses in of_status)
    ]


def print_status(sweep: Path, words: Sequence[str] = ()) -> None:
    """Print the counts and the time left, a table of the jobs for which the filters hold, and why those failed."""
    jobs = status_of(sweep)
    shown = chosen_jobs(jobs, words)
    counts = Counter(job.status for job in jobs)
    counted = ", ".join(f"{count} {status}" for status, count in counts.most_common())
    say(f"{len(jobs)} job(s): {counted}{_left(sweep, jobs)}")
    said = labels({job.number: job.overrides for job in jobs})
    rows = [
        (str(job.number), job.status, "" if job.status == "failed" else job.detail, said[job.number]) for job in shown
    ]
    print_table(("job", "status", "", "of"), rows)
    failed = {said[job.number]: job for job in shown if job.status == "failed"}
    for entry in causes((label, job.detail) for label, job in failed.items()):
        say(f"failed: {entry}")
    # The log of one job tells of the others that fail alike.
    for job in {job.detail: job for job in reversed(failed.values())}.values():
        lines = last_lines(job.log, LOG_LINES) if job.log else []
        say(*(f"  {line}" for line in lines), f"  ({job.log})")
    say(f"sweep: {sweep}")


def _left(sweep: Path, jobs: Sequence[JobStatus]) -> str:
    if not any(job.status in ("running", "queued") for job in jobs):
        return ""
    left = seconds_left(read_jobs(sweep), len(jobs), (sweep / "planned.json").stat().st_mtime)
    return "" if left is None else f", {duration(left)} left"


# What a terminal shows of a sweep: a line for each job that ends, under one bar with the time left.
#
# `12/200  finetune lr=1e-3 seed=0  acc .756  4 s`. Into a pipe go the same lines, without the bar.

POLL = 0.25  # seconds


@contextmanager
def shown(sweep: Path, *, searches: bool = False) -> Iterator[None]:
    """Print a line for each job of a sweep that ends meanwhile. searches: more jobs are planned as it goes on."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    lines, ended, out = _Lines(sweep, searches), threading.Event(), Console(file=sys.stdout, emoji=False)
    columns = (MofNCompleteColumn(), BarColumn(), TimeElapsedColumn(), TextColumn("{task.fields[left]}"))
    # A line of a terminal ends where the terminal does; what is read by a program is whole.
    way: dict[str, Any] = {"overflow": "ellipsis", "no_wrap": True} if out.is_terminal else {"soft_wrap": True}
    with Progress(*columns, console=out, auto_refresh=False, transient=True, disable=not out.is_terminal) as progress:
        bar = progress.add_task("", total=None, left="")

        def show() -> None:
            fresh, done, total, left = lines.new()
            for line in fresh:
                out.print(printable(line), markup=False, highlight=False, **way)
            progress.update(bar, completed=done, total=total, left=left, refresh=True)

        def watch() -> None:
            while not ended.wait(POLL):
                show()

        watcher = threading.Thread(target=watch, daemon=True)
        watcher.start()
        try:
            yield
        finally:
            ended.set()
            watcher.join()
            show()


class _Lines:
    def __init__(self, sweep: Path, searches: bool) -> None:
        self._sweep, self._searches = sweep, searches
        self._jobs: list[SweepJob] = []
        self._seen: set[str] = set()
        self._planned: dict[int, list[str]] = {}
        self._began = time.time()

    def new(self) -> tuple[list[str], int, int, str]:
        """Return a line for each job that ended since the last call, how many have, of how many, and the time left."""
        fresh = [path for path in (self._sweep / "jobs").glob("*.json") if path.name not in self._seen]
        if fresh or not self._planned:
            # A search plans more as it goes on.
            self._planned = read_planned(self._sweep)
        planned, said = self._planned, labels(self._planned) if fresh else {}
        lines = []
        for path in sorted(fresh, key=lambda path: path.stat().st_mtime):
            self._seen.add(path.name)
            # What is damaged is said by who reads the notes in the end.
            with suppress(UserError):
                self._jobs.append(job := read_job(path))
                lines.append(self._line(job, said, len(planned)))
        left = seconds_left(self._jobs, len(planned), self._began)
        return lines, len(self._jobs), len(planned), "" if left is None or self._searches else f"{duration(left)} left"

    def _line(self, job: SweepJob, said: dict[int, str], total: int) -> str:
        count = f"{len(self._jobs):>{len(str(total))}}" + ("" if self._searches else f"/{total}")
        took = "was finished" if job.seconds is None else duration(job.seconds)
        if job.run is None:
            return f"{count}  {said[job.number]}  failed: {job.error}"
        run = read(moved(job.run, store_of(self._sweep)))
        return "  ".join(
            part for part in (count, said[job.number], run.measured("val" if self._searches else "test"), took) if part
        )
