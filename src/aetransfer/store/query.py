"""Words that choose runs: `stage=transfer data=mnist,cifar10 encoder.latent_dim=64 name=*-s0-*`.

Values with commas mean any of them; several words must all hold.
"""

import difflib
import fnmatch
import os
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml

from aetransfer.config.nodes import at_home
from aetransfer.errors import UserError
from aetransfer.store.run import StoredRun, read

ALIASES = {"arm": "transfer", "fold": "data.fold"}
OF_THE_RUN = ("stage", "status", "name")
SHORT = ("stage", "model", "data", "arm", "transfer", "status", "seed", "fold", "name")


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


def chosen(runs: list[StoredRun], words: Sequence[str]) -> list[StoredRun]:
    """Return the runs for which all words hold. Raises UserError for a key that no run has."""
    filters = [_filter(word) for word in words]
    for key, _ in filters:
        _check_key(key, runs)
    return [run for run in runs if all(_holds(run, key, values) for key, values in filters)]


def _filter(word: str) -> tuple[str, list[str]]:
    """Read `key=value,value`. Commas inside brackets belong to a list."""
    key, _, text = word.partition("=")
    values = re.split(r",(?![^\[]*\])", text)
    if not key or not all(values):
        raise UserError(f"{word} is no filter: write key=value or key=value,value.")
    return ALIASES.get(key, key), values


def _check_key(key: str, runs: Sequence[StoredRun]) -> None:
    known = dict.fromkeys(name for run in runs for name in run.settings)
    if key in OF_THE_RUN or not known or key in known or f"{key}.name" in known:
        return
    if inside := [name for name in known if name.startswith(f"{key}.")]:
        raise UserError(f"{key} is a group of keys: filter by one of {', '.join(inside)}.")
    near = difflib.get_close_matches(key, [*SHORT, *known], n=1)
    hint = f" (did you mean {near[0]})" if near else ""
    raise UserError(f"{key} is no filter{hint}: there are {', '.join(SHORT)} and the config's dotted keys.")


def _holds(run: StoredRun, key: str, values: Sequence[str]) -> bool:
    """Tell whether any of the values is the run's."""
    if key == "name":
        return any(fnmatch.fnmatchcase(run.name, value) for value in values)
    if key == "status":
        return run.status in values
    if not run.config:
        return False
    if key == "stage":
        return run.stage in values
    # data=mnist chooses a group's file, whose name is in it.
    value = run.settings.get(key, run.settings.get(f"{key}.name"))
    return any(_same(value, text) for text in values)


def _same(value: Any, text: str) -> bool:
    if value is None:
        return text in ("null", "all")
    if isinstance(value, int | float) and not isinstance(value, bool):
        try:
            return float(text) == value
        except ValueError:
            return False
    try:
        return text == value or bool(yaml.safe_load(text) == value)
    except yaml.YAMLError:
        return False
