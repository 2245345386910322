"""What a terminal shows of a sweep: a line for each job that ends, under one bar with the time left.

`12/200  finetune lr=1e-3 seed=0  acc .756  4 s`. Into a pipe go the same lines, without the bar.
"""

import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TextIO

from aetransfer.errors import UserError
from aetransfer.printable import duration, printable
from aetransfer.report.collect import moved, store_of
from aetransfer.store.query import read
from aetransfer.sweeps.jobs import SweepJob, labels, read_job, read_planned, seconds_left

POLL = 0.25  # seconds


@contextmanager
def shown(sweep: Path, *, searches: bool = False) -> Iterator[None]:
    """Print a line for each job of a sweep that ends meanwhile. searches: more jobs are planned as it goes on."""
    lines, ended = _Lines(sweep, searches), threading.Event()
    with _bar(sys.stdout) if sys.stdout.isatty() else _no_bar(sys.stdout) as show:

        def watch() -> None:
            while not ended.wait(POLL):
                show(*lines.new())

        watcher = threading.Thread(target=watch, daemon=True)
        watcher.start()
        try:
            yield
        finally:
            ended.set()
            watcher.join()
            show(*lines.new())


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


Show = Callable[[list[str], int, int, str], None]


@contextmanager
def _no_bar(out: TextIO) -> Iterator[Show]:
    yield lambda lines, *_: print(*map(printable, lines), sep="\n", file=out, flush=True) if lines else None


@contextmanager
def _bar(out: TextIO) -> Iterator[Show]:
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    columns = (MofNCompleteColumn(), BarColumn(), TimeElapsedColumn(), TextColumn("{task.fields[left]}"))
    with Progress(*columns, console=Console(file=out), auto_refresh=False, transient=True) as progress:
        task = progress.add_task("", total=None, left="")

        def show(lines: list[str], done: int, total: int, left: str) -> None:
            for line in lines:
                progress.console.print(
                    printable(line), markup=False, highlight=False, no_wrap=True, overflow="ellipsis", crop=True
                )
            progress.update(task, completed=done, total=total, left=left, refresh=True)

        yield show
