"""What a measure found: rows for a table, facts for a file, pictures."""

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rich.table import Table

from aetransfer.files import replace_file
from aetransfer.printable import console

Cell = str | int | float | None


@dataclass(frozen=True)
class Outcome:
    """rows: cells by heading, one dict a row. facts: more than fits a table. pictures: PNG bytes by name."""

    rows: Sequence[Mapping[str, Cell]]
    facts: Mapping[str, Any] = field(default_factory=dict)
    notes: Sequence[str] = ()
    pictures: Mapping[str, bytes] = field(default_factory=dict)


def write_outcome(outcome: Outcome, folder: Path, name: str, about: Mapping[str, Any]) -> Path:
    """Write <folder>/<name>.json with what it is about, and <name>-<picture>.png, each whole or not at all."""
    folder.mkdir(exist_ok=True)
    for old in pictures_of(folder, name):
        if old.stem.removeprefix(f"{name}-") not in outcome.pictures:
            old.unlink()
    for picture, png in outcome.pictures.items():
        replace_file(folder / f"{name}-{picture}.png", png)
    path = folder / f"{name}.json"
    content = {**about, "rows": list(outcome.rows), **outcome.facts, "notes": list(outcome.notes)}
    replace_file(path, json.dumps(as_json(content), indent=1, allow_nan=False) + "\n")
    return path


def pictures_of(folder: Path, name: str) -> list[Path]:
    """Return the pictures of <name>.json: probes-mnist.json is another measure's than probes.json's probes-*.png."""
    others = [path.stem for path in folder.glob(f"{name}-*.json")]
    pictures = sorted(folder.glob(f"{name}-*.png"))
    return [path for path in pictures if not any(path.stem.startswith(f"{other}-") for other in others)]


def print_outcome(outcome: Outcome, title: str) -> None:
    headings = list(dict.fromkeys(heading for row in outcome.rows for heading in row))
    table = Table()
    for heading in headings:
        words = any(isinstance(row.get(heading), str) for row in outcome.rows)
        table.add_column(heading, justify="left" if words else "right")
    for row in outcome.rows:
        table.add_row(*(text_of(row.get(heading)) for heading in headings))
    out = console()
    out.print(title, markup=False, highlight=False, soft_wrap=True)
    out.print(table)
    for note in outcome.notes:
        out.print(note, markup=False, highlight=False, soft_wrap=True)


def known(value: float) -> float | None:
    """Return a number as a cell, None for NaN."""
    return None if math.isnan(value) else value


def text_of(cell: Cell) -> str:
    if cell is None:
        return "–"
    return f"{cell:.4g}" if isinstance(cell, float) else str(cell)


def as_json(value: Any) -> Any:
    """Write what JSON has no number for (an infinite PSNR) as a word."""
    if isinstance(value, Mapping):
        return {key: as_json(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [as_json(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    return value
