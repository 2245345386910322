"""The runs that a run's numbers must be read beside: its pretraining, and its control of the same seed and fold."""

import math
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from pydantic import BaseModel, Field, ValidationError

from aetransfer.config.shapes import shape_in
from aetransfer.errors import UserError
from aetransfer.models.facts import ModelFacts, facts_of
from aetransfer.printable import without_secrets
from aetransfer.report.collect import CollectedRun, Facts, checked, moved
from aetransfer.report.grouping import group_runs, replicate
from aetransfer.report.html import link
from aetransfer.store.directory import RunDirectory
from aetransfer.store.finished import is_untested
from aetransfer.store.query import read

# What a run's page says in words of arms, in its first sentence, and of metrics that no model measures.

STARTS = {
    "fresh": "starts fresh",
    "pretrained": "is the pretrained one",
    "shuffled": "is the pretrained one, permuted within each tensor",
    "moments": "is drawn anew with the pretrained one's means and variances",
    "transplanted": "is the pretrained one in its first layers, and fresh in the rest",
}
TREATMENTS = {
    "trained": "is trained",
    "frozen": "stays frozen",
    "gradual": "is unfrozen layer by layer, from the head down",
    "transplant_frozen": "is trained but for the transplanted layers",
}
# Of this program's callbacks, by the part of a metric's name that follows val/.
OF_CALLBACKS = {"probe_acc": "accuracy of k-NN on the code"}
HOW = (
    "train: mean of the epoch's batches that were logged, as the weights were then, maybe augmented; val: the whole "
    "validation split at the epoch's end. The upright line is the epoch whose weights were tested and kept."
)
STATUS = {
    "finished": "finished",
    "failed": "failed",
    "interrupted": "interrupted before its end",
    "running": "still running when this page was written",
}


# What a run's page reads of its directory, checked: anybody may have written it.


class Weights(BaseModel):
    """What a run says of the weights that others trained: see `aetransfer.transfer.foreign.Taken`."""

    said: str


class Told(Facts):
    """What a run says of itself at any time. progress: how far it was when it was last heard of."""

    error: str | None = None
    source: str | None = None
    progress: dict[str, float] = Field(default_factory=dict)
    heartbeat: str | None = None
    weights: Weights | None = None


@dataclass(frozen=True)
class Subject:
    """run: as reports see it. told: its result.json."""

    run: CollectedRun
    told: Told

    @property
    def directory(self) -> RunDirectory:
        return self.run.directory

    @property
    def status(self) -> str:
        return self.run.stored.status

    @cached_property
    def config(self) -> dict[str, Any]:
        """Return the config by dotted key, without what looks like a secret."""
        return without_secrets(self.run.config)

    @cached_property
    def model(self) -> ModelFacts:
        """Return what the run says of its model, without what looks like a secret."""
        return facts_of(without_secrets(self.run.result), without_secrets(self.run.stored.config))

    @property
    def shape(self) -> tuple[int, ...]:
        """What one of its inputs is, for words."""
        return shape_in(self.run.stored.config)

    @property
    def counts(self) -> dict[str, float]:
        """Return examples by part, parameters, epochs, ...: what there is of them."""
        counts = {name: count for name, count in self.told.counts.items() if math.isfinite(count)}
        return {name: int(count) if count.is_integer() else count for name, count in counts.items()}

    @property
    def best_epoch(self) -> float | None:
        """Return the epoch that validation chose, the first of equals, never NaN; None where the curves don't tell."""
        monitor = str(self.model.monitor)
        rows = [row for row in self.run.history if "epoch" in row and not math.isnan(row.get(monitor, math.nan))]
        choose = max if self.model.monitor_mode == "max" else min
        return choose(rows, key=lambda row: row[monitor])["epoch"] if rows else None


def subject_at(directory: RunDirectory) -> Subject:
    """Read a run in whatever state it is. Raises UserError for what is no run, or a damaged one."""
    stored = read(directory.path)
    if stored.damage:
        raise UserError(f"{directory.path} is damaged: {stored.damage}.")
    try:
        told = Told.model_validate(without_secrets(stored.result))
    except ValidationError as error:
        where = ".".join(str(part) for part in error.errors()[0]["loc"])
        raise UserError(f"{directory.result_path} is damaged: {where} is not what a run says.") from error
    return Subject(CollectedRun(stored), told)


@dataclass(frozen=True)
class Relative:
    """address: of its page, None where there is none."""

    name: str
    tested: dict[str, float]
    address: str | None


def source_of(subject: Subject) -> Relative | None:
    """Return the pretraining that a transfer carries; only the name where it is not in the same store any more."""
    if subject.told.source is None:
        return None
    store = subject.directory.path.absolute().parent
    place = moved(subject.told.source, store)
    if place.parent != store:
        return Relative(place.name, {}, None)
    return _relative(place, subject) or Relative(place.name, {}, None)


def control_of(subject: Subject) -> Relative | None:
    """Return the run of the store that differs from a transfer in nothing but the arm, which is its control."""
    wanted = f"transfer-{subject.config.get('data.name')}-{subject.run.control}-"
    for path in sorted(subject.directory.path.absolute().parent.glob("transfer-*")):
        if path.name.startswith(wanted) and f"-s{subject.told.seed}-" in path.name:
            control = checked(read(path))
            if control.status != "finished" or is_untested(control.result) or RunDirectory(path).is_superseded:
                continue
            found = CollectedRun(control)
            columns, _ = group_runs([subject.run, found])
            if columns == ["transfer"] and replicate(found) == replicate(subject.run):
                return _relative(path, subject)
    return None


def _relative(path: Path, subject: Subject) -> Relative | None:
    run = checked(read(path))
    if run.status != "finished":
        return None
    page = RunDirectory(path).page
    address = link(page, subject.directory.path.absolute()) if page.is_file() else None
    return Relative(run.name, CollectedRun(run).tested, address)
