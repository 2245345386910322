"""How stored runs are shown: the table of `list`, the page of `show`, the files of `export`, a DataFrame."""

import json
from collections.abc import Collection, Sequence
from datetime import datetime, timedelta
from os.path import commonprefix
from pathlib import Path
from typing import TYPE_CHECKING, Any

from aetransfer.config.nodes import at_home
from aetransfer.errors import UserError
from aetransfer.files import replacing
from aetransfer.printable import console, is_wide, printable
from aetransfer.store.query import chosen, default_output_dir, runs_in
from aetransfer.store.run import StoredRun, flat

COLOURS = {
    "finished": "green",
    "running": "cyan",
    "queued": "blue",
    "failed": "red",
    "damaged": "red",
    "interrupted": "yellow",
}
# What one asks first about a run; the rest is in its config.yaml.
ESSENTIAL = """
    seed data.name data.folds data.fold data.labels_per_class data.epoch_images encoder._target_ encoder.latent_dim
    model.name optimizer._target_ optimizer.lr transfer.name head._target_ head.hidden
    pretrain.data.name pretrain.model.name pretrain.path
    trainer.max_epochs trainer.max_steps trainer.accelerator trainer.devices trainer.precision
"""


# The parts of result.json that are shown, and how their numbers are written.
PARTS = (("metrics", ".6g"), ("counts", ","), ("timing", ""), ("versions", ""))


def print_list(runs: list[StoredRun], output_dir: Path) -> None:
    """Print a table with a row for each run, the earliest first; when each began where there is room for it."""
    whole = is_wide()
    prefix = "" if whole else _prefix([run.name for run in runs])
    header = ("name", "status", "epochs", "test", "duration", *(["started"] if whole else []))
    rows = [
        (run.name.removeprefix(prefix), run.status, *_cells(run)[: len(header) - 2])
        for run in sorted(runs, key=_started)
    ]
    print_table(header, rows)
    named = f", of names that begin with {prefix}" if prefix else ""
    say(f"{len(runs)} run(s) in {output_dir / 'runs'}{named}")
    say(*(f"damaged: {run.name}: {run.damage}" for run in runs if run.damage))


def print_table(
    header: Sequence[str], rows: Sequence[Sequence[str]], texts: int | None = None, bold: Collection[int] = ()
) -> None:
    """Print a table, with the words of a status in colours; nothing without rows.

    texts: how many columns, from the left, are words and not numbers; None: all. bold: places of rows.
    """
    if not rows:
        return
    from rich.table import Table
    from rich.text import Text

    table = Table()
    for place, heading in enumerate(header):
        is_number = texts is not None and place >= texts
        table.add_column(Text(printable(heading)), justify="right" if is_number else "left")
    for place, row in enumerate(rows):
        # Text, so that brackets in a name are no markup.
        cells = (Text(printable(cell), COLOURS.get(cell, "")) for cell in row)
        table.add_row(*cells, style="bold" if place in bold else None)
    console().print(table)


def _prefix(names: Sequence[str]) -> str:
    """Return the words, parted by -, with which all names begin."""
    head, dash, _ = commonprefix(list(names)).rpartition("-")  # noqa: RUF071  # names are no paths
    return head + dash if len(names) > 1 else ""


def say(*lines: str) -> None:
    for line in lines:
        print(printable(line))


def print_run(run: StoredRun, children: list[StoredRun]) -> None:
    """Print what a run was, what it came to, and where its files are."""
    lines = {"name": run.name, "path": str(run.path.absolute()), "status": run.status}
    lines |= {"damage": run.damage or "", "error": _text(run.result.get("error"))}
    lines |= {"source": _text(run.source), "carried by": ", ".join(child.name for child in children)}
    chapters = {
        "": lines,
        "config": {key: _text(run.settings.get(key)) for key in ESSENTIAL.split()},
        **{part: {key: _shown(value, style) for key, value in _part(run, part).items()} for part, style in PARTS},
        "files": {str(path.relative_to(run.path)): size(path.stat().st_size) for path in run.files},
    }
    for title, rows in chapters.items():
        shown = {key: text for key, text in rows.items() if text}
        if title and shown:
            print(f"\n{title}")
        for key, text in shown.items():
            print(printable(f"{'  ' if title else ''}{key:<26}{' '.join(text.split())}"))


def export(runs: list[StoredRun], path: Path) -> None:
    """Write a flat row for each run: name, identity, status, config, metrics, counts, timing.

    Raises UserError where `path` can't be written.
    """
    from pandas import DataFrame

    rows = [row_of(run) for run in runs]
    if path.suffix == ".json":
        text = json.dumps(rows, indent=2) + "\n"
    else:
        text = DataFrame([{key: _text(value) for key, value in row.items()} for row in rows]).to_csv(index=False)
    try:
        # Not by replace_file, which says what becomes of a run.
        with replacing(path) as partial:
            partial.write_text(text, encoding="utf-8")
    except OSError as error:
        raise UserError(f"out={path} can't be written ({error.strerror}).") from error


def size(count: int) -> str:
    return f"{count / 1e6:.1f} MB" if count >= 1e5 else f"{count / 1e3:.1f} kB"


def _started(run: StoredRun) -> str:
    return str(_part(run, "timing").get("started", ""))


def _cells(run: StoredRun) -> tuple[str, str, str, str]:
    seconds = _number(_part(run, "timing").get("seconds"))
    try:
        started = datetime.fromisoformat(_started(run)).astimezone().strftime("%Y-%m-%d %H:%M")
    except ValueError:
        started = ""
    return (
        str(_part(run, "counts").get("epochs", "")),
        run.measured(),
        "" if seconds is None else str(timedelta(seconds=round(seconds))),
        started,
    )


def _number(value: Any) -> float | None:
    """Return what may be any JSON at all where it is a number that a table has room for."""
    return value if isinstance(value, int | float) and abs(value) < 1e12 else None


def row_of(run: StoredRun) -> dict[str, Any]:
    """Return a run's name, identity, status, config, metrics, counts and timing by dotted key."""
    head = {"name": run.name, "identity": run.result.get("identity"), "status": run.status}
    parts = {part: _part(run, part) for part in ("counts", "timing")}
    # The config has a key of nearly every word; metrics alone are known by their slash.
    return head | run.settings | _part(run, "metrics") | flat(parts)


def _part(run: StoredRun, name: str) -> dict[str, Any]:
    part = run.result.get(name)
    return part if isinstance(part, dict) else {}


def _shown(value: Any, style: str) -> str:
    return _text(value) if _number(value) is None else format(value, style)


def _text(value: Any) -> str:
    """Write a value as YAML would have it in one line, and nothing for None."""
    if value is None:
        return ""
    return value if isinstance(value, str) else json.dumps(value)


if TYPE_CHECKING:
    from pandas import DataFrame


def runs_frame(output_dir: str | Path | None = None, *filters: str) -> "DataFrame":
    """Return a row for each run: name, identity, status, config, metrics, counts, timing, as `runs export` writes them.

    output_dir: that of the runs, by default AETRANSFER_OUTPUT_DIR or outputs. filters: as `runs list` takes them
    ("stage=transfer", "data=cifar10,mnist"), all of which must hold. Raises UserError for a filter on a key that no run
    has.
    """
    from pandas import DataFrame

    directory = at_home(output_dir) if output_dir else default_output_dir()
    return DataFrame([row_of(run) for run in chosen(runs_in(directory), list(filters))])
