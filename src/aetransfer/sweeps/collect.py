"""Finished runs, and what became of the others, from a sweep's directory or from a whole store.

Configs are read as plain keys and not through the schema, so that runs of an older version can be reported as well.
"""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import yaml

from aetransfer.errors import UserError
from aetransfer.runs.directory import RunDirectory
from aetransfer.sweeps.jobs import read_jobs
from aetransfer.sweeps.planned import planned_jobs

# PyYAML's own parser takes seconds for 200 configs; the one in C is not in every build of it.
LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
# The short words of a filter; any other word is a dotted config key.
FILTERS = {"arm": "transfer.name", "transfer": "transfer.name", "data": "data.name", "model": "model.name"}


@dataclass(frozen=True)
class CollectedRun:
    """config: the settled job by dotted key; lists stay lists. result: what result.json says."""

    directory: RunDirectory
    config: dict[str, Any]
    result: dict[str, Any]

    @property
    def name(self) -> str:
        return self.directory.path.name

    @property
    def stage(self) -> str:
        return self.result["stage"]

    @property
    def status(self) -> str:
        return self.result["status"]

    @property
    def seed(self) -> int:
        return self.result["seed"]

    @property
    def arm(self) -> str | None:
        return self.result["arm"]

    @property
    def control(self) -> str | None:
        """Return the arm that this one is compared with, None for a control itself."""
        return self.config.get("transfer.control")

    @property
    def tested(self) -> dict[str, float]:
        """Return the final metrics on the test split."""
        return {name: value for name, value in self.result["metrics"].items() if name.startswith("test/")}

    @cached_property
    def history(self) -> list[dict[str, float]]:
        """Return a row of metrics an epoch; empty for a run that wrote none."""
        path = self.directory.path / "history.json"
        return json.loads(path.read_text()) if path.is_file() else []


@dataclass(frozen=True)
class Unfinished:
    """what: the job's overrides, or the run's name. status: failed, interrupted, running, missing or unreadable."""

    what: str
    status: str
    why: str = ""

    def __str__(self) -> str:
        return f"{self.status}: {self.what}" + (f": {self.why}" if self.why else "")


@dataclass(frozen=True)
class Collection:
    """runs: finished, each once. unfinished: all others that were asked for. sources: the runs' pretrainings."""

    runs: list[CollectedRun]
    unfinished: list[Unfinished]
    sources: list[CollectedRun]


def collect_sweep(sweep: Path, filters: Mapping[str, str] | None = None) -> Collection:
    """Read the runs of a sweep's jobs. Several jobs may have one run, such as a control that no pretraining reaches."""
    # <output>/sweeps/<time> stands beside <output>/runs, wherever the store was moved since.
    store = sweep.absolute().parent.parent / "runs"
    runs: dict[str, CollectedRun] = {}
    unfinished = []
    jobs = read_jobs(sweep)
    for job in jobs:
        words = " ".join(job.overrides)
        if job.run is None:
            unfinished.append(Unfinished(words, "failed", job.error or ""))
            continue
        found = _read(_moved(job.run, store))
        if isinstance(found, Unfinished):
            unfinished.append(Unfinished(words, found.status, found.why))
        elif found.status != "finished":
            unfinished.append(Unfinished(words, found.status, found.result.get("error", "")))
        else:
            runs[found.name] = found
    done = {" ".join(job.overrides) for job in jobs}
    unfinished += [Unfinished(words, "missing") for words in planned_jobs(sweep) if words not in done]
    return _collection(runs.values(), unfinished, store, filters or {})


def collect_store(store: Path, filters: Mapping[str, str]) -> Collection:
    """Read every run below a folder of run directories that has all that `filters` asks."""
    runs, unfinished = [], []
    for path in sorted(config.parent for config in store.glob("*/config.yaml")):
        if RunDirectory(path).is_superseded:
            continue
        found = _read(path)
        if isinstance(found, Unfinished):
            unfinished.append(found)
        elif found.status == "finished" or not matches(found, filters):
            runs.append(found)
        else:
            unfinished.append(Unfinished(found.name, found.status, found.result.get("error", "")))
    return _collection(runs, unfinished, store, filters)


def matches(run: CollectedRun, filters: Mapping[str, str]) -> bool:
    """Tell whether a run has, for each key, one of the values that the filter names with commas between."""
    return all(
        any(_is(_asked(run, key), value.strip()) for value in wanted.split(",")) for key, wanted in filters.items()
    )


def _asked(run: CollectedRun, key: str) -> Any:
    if key in ("stage", "status", "name", "identity"):
        return run.result[key]
    return run.config.get(FILTERS.get(key, key))


def _is(value: Any, word: str) -> bool:
    if value is None:
        return word in ("all", "none", "null")
    try:
        return float(value) == float(word)
    except (TypeError, ValueError):
        return str(value).lower() == word.lower()


def _collection(
    runs: Iterable[CollectedRun], unfinished: list[Unfinished], store: Path, filters: Mapping[str, str]
) -> Collection:
    runs = list(runs)
    for key in filters:
        known = key in (*FILTERS, "stage", "status", "name", "identity")
        if runs and not known and not any(key in run.config for run in runs):
            raise UserError(f"{key} is no key of any run's config in {store}.")
    chosen = [run for run in runs if matches(run, filters)]
    sources = {run.name: run for chosen_run in chosen for run in [_source(chosen_run, store)] if run is not None}
    return Collection(chosen, unfinished, [sources[name] for name in sorted(sources)])


def _source(run: CollectedRun, store: Path) -> CollectedRun | None:
    if run.result.get("source") is None:
        return None
    found = _read(_moved(run.result["source"], store))
    return found if isinstance(found, CollectedRun) else None


def _moved(path: str, store: Path) -> Path:
    """Return where a run lies: in the store, else where it was said to be, from the folder of that command."""
    inside = store / Path(path).name
    return inside if inside.is_dir() else Path(path)


def _read(path: Path) -> CollectedRun | Unfinished:
    directory = RunDirectory(path)
    if not directory.config.is_file():
        return Unfinished(path.name, "missing", "its run directory is gone")
    try:
        result = directory.result()
        config = yaml.load(directory.config.read_text(), Loader=LOADER)
    except (UserError, yaml.YAMLError, UnicodeDecodeError) as error:
        return Unfinished(path.name, "unreadable", " ".join(str(error).split()))
    if result is None:
        return Unfinished(path.name, "missing", "it has no result.json")
    return CollectedRun(directory, dict(_dotted(config)), result)


def _dotted(node: Mapping[str, Any], prefix: str = "") -> Iterable[tuple[str, Any]]:
    for key, value in node.items():
        if isinstance(value, dict) and value:
            yield from _dotted(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value
