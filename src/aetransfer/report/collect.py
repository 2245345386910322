"""Finished runs, and what became of the others, from a sweep's directory or from a whole store."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from aetransfer.store.directory import RunDirectory
from aetransfer.store.finished import is_untested
from aetransfer.store.query import chosen
from aetransfer.store.run import StoredRun, checked, moved, read
from aetransfer.sweeps.jobs import read_jobs, read_planned, store_of


@dataclass(frozen=True)
class Unfinished:
    """what: the job's overrides, or the run's name. status: failed, interrupted, running, damaged or missing.

    path: the run's directory, None for a job that came to none.
    """

    what: str
    status: str
    why: str = ""
    path: Path | None = None

    @property
    def name(self) -> str:
        return self.path.name if self.path else ""

    @property
    def cause(self) -> str:
        return self.status + (f": {self.why}" if self.why else "")


@dataclass(frozen=True)
class Collection:
    """runs: finished and tested, each once. unfinished: all others that were asked for.

    sources: the runs' pretrainings. untested: what a search has finished, of which there are no numbers to report.
    """

    runs: list[StoredRun]
    unfinished: list[Unfinished]
    sources: list[StoredRun]
    untested: list[StoredRun] = field(default_factory=list)


def collect_sweep(sweep: Path, filters: Sequence[str] = ()) -> Collection:
    """Read the runs of a sweep's jobs. Several jobs may have one run, such as a control that no pretraining reaches.

    filters: see `aetransfer.store.query`. Raises UserError for one that asks for a key no run has.
    """
    store = store_of(sweep)
    found: dict[str, StoredRun] = {}
    unfinished = []
    jobs = {job.number: job for job in read_jobs(sweep)}
    for job in jobs.values():
        words = " ".join(job.overrides)
        if job.run is None:
            unfinished.append(Unfinished(words, "failed", job.error or ""))
            continue
        run = checked(read(moved(job.run, store)))
        if run.status == "finished":
            found[run.name] = run
        else:
            unfinished.append(_unfinished(run, words))
    planned = read_planned(sweep).items()
    unfinished += [Unfinished(" ".join(overrides), "missing") for number, overrides in planned if number not in jobs]
    return _collection(chosen(list(found.values()), filters), unfinished, store)


def collect_store(store: Path, filters: Sequence[str]) -> Collection:
    """Read every run below a folder of run directories for which all `filters` hold, as in `collect_sweep`."""
    paths = sorted(config.parent for config in store.glob("*/config.yaml"))
    runs = chosen([checked(read(path)) for path in paths if not RunDirectory(path).is_superseded], filters)
    unfinished = [_unfinished(run, run.name) for run in runs if run.status != "finished"]
    return _collection([run for run in runs if run.status == "finished"], unfinished, store)


def _unfinished(run: StoredRun, what: str) -> Unfinished:
    return Unfinished(what, run.status, run.damage or str(run.result.get("error") or ""), run.path)


def _collection(finished: Sequence[StoredRun], unfinished: list[Unfinished], store: Path) -> Collection:
    runs = [run for run in finished if not is_untested(run.result)]
    untested = [run for run in finished if is_untested(run.result)]
    carried = [checked(read(moved(path, store))) for path in {run.source for run in runs if run.source is not None}]
    sources = {run.name: run for run in carried if run.damage is None}
    return Collection(runs, unfinished, [sources[name] for name in sorted(sources)], untested)
