"""What a run's page reads of its directory, checked: anybody may have written it."""

import math
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from pydantic import BaseModel, Field, ValidationError

from aetransfer.config.shapes import shape_in
from aetransfer.errors import UserError
from aetransfer.models.facts import ModelFacts, facts_of
from aetransfer.runs.directory import RunDirectory
from aetransfer.runs.store import read
from aetransfer.secrets import without_secrets
from aetransfer.sweeps.collect import CollectedRun, Facts


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
