"""What is in the store: the directories under `<output_dir>/runs`, read as they lie there, whole or damaged.

Nothing here imports torch or checks a config against today's schema: runs of older versions are listed as well.
"""

import os
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from aetransfer.config.nodes import at_home
from aetransfer.errors import UserError
from aetransfer.models.earlier import todays_config
from aetransfer.models.facts import ModelFacts, facts_of
from aetransfer.runs.directory import RunDirectory
from aetransfer.runs.lock import RunLock
from aetransfer.runs.plain import read_json, read_yaml


@dataclass(frozen=True)
class StoredRun:
    """A run directory's plain content; `damage` says why it can't be used, None where it can."""

    path: Path
    config: dict[str, Any]
    result: dict[str, Any]
    damage: str | None = None

    @property
    def name(self) -> str:
        return self.path.name

    @property
    def status(self) -> str:
        """Return result.json's word, or what it could not say any more: damaged, or cut off while it was running."""
        if self.damage:
            return "damaged"
        said = str(self.result["status"])
        if said == "running":
            holder = RunLock(RunDirectory(self.path).locks).holder()
            return said if holder is not None and not holder.is_gone() else "interrupted"
        return said

    @property
    def stage(self) -> str:
        said = self.result.get("stage")
        return said if said in ("pretrain", "transfer") else "transfer" if self.config.get("transfer") else "pretrain"

    @cached_property
    def model(self) -> ModelFacts:
        """Return what the run says of its model."""
        return facts_of(self.result, self.config)

    @property
    def main_metric(self) -> str:
        """Return the test metric that runs of its model are compared by; empty where nobody knows."""
        return self.model.compared.on("test").metric if self.model.compared else ""

    @property
    def source(self) -> str | None:
        """The run directory, checkpoint or encoder that this run started from."""
        source = self.result.get("source")
        return source if isinstance(source, str) else None

    @property
    def files(self) -> list[Path]:
        return sorted(path for path in self.path.rglob("*") if path.is_file())

    @property
    def bytes(self) -> int:
        return sum(path.lstat().st_size for path in self.files)


def default_output_dir() -> Path:
    """Return the output directory of a command that names none, as configs/paths/default.yaml has it."""
    return at_home(os.environ.get("AETRANSFER_OUTPUT_DIR", "outputs"))


def runs_in(output_dir: Path) -> list[StoredRun]:
    """Return the runs of a store by name, the damaged ones included. Links that lead out of the store are not in it."""
    folder = output_dir / "runs"
    if not folder.is_dir():
        return []
    inside = folder.resolve()
    return [read(path) for path in sorted(folder.glob("[!.]*")) if path.is_dir() and path.resolve().parent == inside]


def read(path: Path) -> StoredRun:
    """Read a run directory, whatever state it is in."""
    directory = RunDirectory(path)
    try:
        config = _mapping(todays_config(read_yaml(directory.config)), "config.yaml")
        str(config["model"]["name"])
    except FileNotFoundError:
        return StoredRun(path, {}, {}, "it has no config.yaml")
    except (OSError, ValueError, LookupError, TypeError) as error:
        return StoredRun(path, {}, {}, f"config.yaml can't be read: {_line(error)}")
    try:
        result = _mapping(read_json(directory.result_path), "result.json")
        str(result["status"])
    except FileNotFoundError:
        return StoredRun(path, config, {}, "it has no result.json")
    except (OSError, ValueError, LookupError) as error:
        return StoredRun(path, config, {}, f"result.json can't be read: {_line(error)}")
    return StoredRun(path, config, result)


def run_called(name: str, runs: list[StoredRun]) -> StoredRun:
    """Return the one run that a name, or a part of it, or a path means. Raises UserError for none or several."""
    exact = [run for run in runs if run.name == name]
    if exact:
        return exact[0]
    path = at_home(name)
    if path.is_dir():
        same = [run for run in runs if run.path.samefile(path)]
        return same[0] if same else read(path)
    found = [run for run in runs if name in run.name]
    if not found:
        raise UserError(f"{name} is no run directory and no part of a run's name: see python -m aetransfer.runs list.")
    if len(found) > 1:
        shown = ", ".join(run.name for run in found[:5]) + (", ..." if len(found) > 5 else "")
        raise UserError(f"{name} is a part of {len(found)} names ({shown}): give more of it.")
    return found[0]


def started_from(source: StoredRun, runs: list[StoredRun]) -> list[StoredRun]:
    """Return the runs whose encoder comes from `source`."""
    place = source.path.resolve()
    carried = [(run, at_home(run.source).resolve()) for run in runs if run.source]
    return [run for run, path in carried if place in (path, *path.parents)]


def _mapping(value: Any, name: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise ValueError(f"{name} holds no keys")
    return value


def _line(error: Exception) -> str:
    return " ".join(f"{type(error).__name__} {error}".split())
