"""Finished runs, and what became of the others, from a sweep's directory or from a whole store."""

import logging
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, Field, TypeAdapter, ValidationError

from aetransfer.config.shapes import noun_of, shape_in
from aetransfer.files import read_json
from aetransfer.models.facts import Monitor
from aetransfer.store.directory import RunDirectory
from aetransfer.store.finished import is_untested
from aetransfer.store.query import StoredRun, chosen, flat, read
from aetransfer.sweeps.jobs import read_jobs, read_planned

log = logging.getLogger(__name__)

LARGEST = 1e100
HISTORY = TypeAdapter(list[dict[str, float]])


class Timing(BaseModel):
    seconds: float = 0.0
    train_seconds: float = 0.0
    images_per_second: float = 0.0


class Code(BaseModel):
    commit: str
    dirty: bool


class Hardware(BaseModel):
    machine: str
    cpus: int
    threads: int
    gpus: list[str]


class Groups(BaseModel):
    """How many groups, such as subjects, stand behind each part of the data. called: what one is, in a word."""

    train: int = 0
    val: int = 0
    test: int = 0
    called: Annotated[str, Field(max_length=80)] = "group"


class Used(BaseModel):
    """Which data a run used. classes: 0 without labels. validation: "own", where the data have a split for that, or
    "cut" out of train by the seed. What older runs don't tell is as it always was then. tested_on: which
    part of the training split, where it is no test split. without: the classes of which a part has no example, of each
    part. groups: of data that have some.
    """

    used: str = ""
    notes: list[str] = []
    classes: int = 2
    validation: str = "cut"
    tested_on: str = ""
    without: dict[str, Annotated[list[str], Field(max_length=10_000)]] = {}
    groups: Groups | None = None


class Facts(BaseModel):
    """What a report reads of a finished run's result.json."""

    stage: Literal["pretrain", "transfer"]
    seed: int
    arm: str | None
    metrics: dict[str, float]
    counts: dict[str, float]
    timing: Timing
    data: Used = Used()
    command: list[str] = []
    overrides: list[str] = []
    config_dir: str | None = None
    untested: bool = False
    versions: dict[str, str] | None = None
    git: Code | None = None
    hardware: Hardware | None = None


@dataclass(frozen=True)
class CollectedRun:
    """A finished run, as the report asks about it."""

    stored: StoredRun

    @property
    def directory(self) -> RunDirectory:
        return RunDirectory(self.stored.path)

    @cached_property
    def config(self) -> dict[str, Any]:
        """Return the resolved job by dotted key; lists stay lists."""
        return flat(self.stored.config)

    @property
    def result(self) -> dict[str, Any]:
        return self.stored.result

    @property
    def name(self) -> str:
        return self.stored.name

    @property
    def stage(self) -> str:
        return self.result["stage"]

    @property
    def seed(self) -> int:
        return self.result["seed"]

    @property
    def fold(self) -> int | None:
        """Return which of `folds` parts of the training split the run was tested on, None for the test split."""
        return self.config.get("data.fold")

    @property
    def folds(self) -> int | None:
        return self.config.get("data.folds")

    @property
    def arm(self) -> str | None:
        return self.result["arm"]

    @property
    def control(self) -> str | None:
        """Return the arm that this one is compared with, None for a control itself."""
        return self.config.get("transfer.control")

    @property
    def compared(self) -> Monitor | None:
        """Return by which test metric the run is compared with others, None where nobody knows."""
        compared = self.stored.model.compared
        return compared.on("test") if compared else None

    @property
    def tested(self) -> dict[str, float]:
        """Return the final metrics on the test split."""
        return {name: value for name, value in self.result["metrics"].items() if name.startswith("test/")}

    @cached_property
    def history(self) -> list[dict[str, float]]:
        """Return a row of metrics an epoch; empty for a run that wrote none."""
        path = self.directory.history
        try:
            return HISTORY.validate_python(read_json(path)) if path.is_file() else []
        except (OSError, ValueError):
            log.warning("%s is damaged: the run has no curves here.", path)
            return []


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

    def __str__(self) -> str:
        return f"{self.status}: {self.what}" + (f": {self.why}" if self.why else "")


@dataclass(frozen=True)
class Collection:
    """runs: finished and tested, each once. unfinished: all others that were asked for.

    sources: the runs' pretrainings. untested: what a search has finished, of which there are no numbers to report.
    """

    runs: list[CollectedRun]
    unfinished: list[Unfinished]
    sources: list[CollectedRun]
    untested: list[CollectedRun] = field(default_factory=list)


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
    return _collection(chosen(list(found.values()), list(filters)), unfinished, store)


def collect_store(store: Path, filters: Sequence[str]) -> Collection:
    """Read every run below a folder of run directories for which all `filters` hold, as in `collect_sweep`."""
    paths = sorted(config.parent for config in store.glob("*/config.yaml"))
    runs = chosen([checked(read(path)) for path in paths if not RunDirectory(path).is_superseded], list(filters))
    unfinished = [_unfinished(run, run.name) for run in runs if run.status != "finished"]
    return _collection([run for run in runs if run.status == "finished"], unfinished, store)


def checked(run: StoredRun) -> StoredRun:
    """Return the run as damaged where it says finished, and result.json is not what a finished run leaves.

    Also where a test metric is NaN, infinite or as good as that: no mean can be taken of it.
    """
    if run.status != "finished":
        return run
    try:
        facts = Facts.model_validate(run.result)
    except ValidationError as error:
        where = ".".join(str(part) for part in error.errors()[0]["loc"])
        return replace(run, damage=f"result.json: {where} is not what a finished run says")
    tested = {name: value for name, value in facts.metrics.items() if name.startswith("test/")}
    if spoilt := [f"{name} is {value}" for name, value in tested.items() if not abs(value) < LARGEST]:
        return replace(
            run,
            damage=f"{', '.join(spoilt)}: the model's outputs for some {noun_of(shape_in(run.config))} are no numbers",
        )
    return run


def _unfinished(run: StoredRun, what: str) -> Unfinished:
    return Unfinished(what, run.status, run.damage or str(run.result.get("error") or ""), run.path)


def _collection(finished: Iterable[StoredRun], unfinished: list[Unfinished], store: Path) -> Collection:
    collected = [CollectedRun(run) for run in finished]
    runs = [run for run in collected if not is_untested(run.result)]
    sources = {
        run.name: CollectedRun(run)
        for path in {collected.stored.source for collected in runs if collected.stored.source is not None}
        if (run := checked(read(moved(path, store)))).damage is None
    }
    untested = [run for run in collected if is_untested(run.result)]
    return Collection(runs, unfinished, [sources[name] for name in sorted(sources)], untested)


def store_of(sweep: Path) -> Path:
    """<output>/sweeps/<time> stands beside <output>/runs, wherever the store was moved since."""
    return sweep.absolute().parent.parent / "runs"


def moved(path: str, store: Path) -> Path:
    """Return where a run lies: in the store, else where it was said to be, from the folder of that command."""
    inside = store / Path(path).name
    return inside if inside.is_dir() else Path(path)
