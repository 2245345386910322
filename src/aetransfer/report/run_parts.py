"""What stands on a run's page: the run and its relatives, its learning curves, and what `evaluate` found about it."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from pydantic import BaseModel, ValidationError

from aetransfer.errors import UserError
from aetransfer.evaluation.outcome import Cell, pictures_of, text_of
from aetransfer.files import replace_file
from aetransfer.models.facts import ModelFacts
from aetransfer.printable import without_secrets
from aetransfer.report.drawing import Line, as_svg, draw_lines
from aetransfer.report.grouping import group_runs, replicate
from aetransfer.report.html import Picture, data_uri, link, picture_at
from aetransfer.report.tables import TextTable, escaped, markdown_of
from aetransfer.store.directory import RunDirectory
from aetransfer.store.finished import is_untested
from aetransfer.store.run import StoredRun, checked, moved, read, written

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
STATUS = {
    "finished": "finished",
    "failed": "failed",
    "interrupted": "interrupted before its end",
    "running": "still running when this page was written",
}


def run_at(directory: RunDirectory) -> StoredRun:
    """Read a run in whatever state it is, without what looks like a secret.

    Raises UserError for what is no run, or a damaged one.
    """
    stored = read(directory.path)
    if stored.damage:
        raise UserError(f"{directory.path} is damaged: {stored.damage}.")
    run = _without_secrets(stored)
    try:
        run.facts  # noqa: B018  # it is checked once
    except ValidationError as error:
        where = ".".join(str(part) for part in error.errors()[0]["loc"])
        raise UserError(f"{directory.result_path} is damaged: {where} is not what a run says.") from error
    return run


def _without_secrets(run: StoredRun) -> StoredRun:
    return replace(run, config=without_secrets(run.config), result=without_secrets(run.result))


def best_epoch(run: StoredRun) -> float | None:
    """Return the epoch that validation chose, the first of equals, never NaN; None where the curves don't tell."""
    monitor = str(run.model.monitor)
    rows = [row for row in run.history if "epoch" in row and not math.isnan(row.get(monitor, math.nan))]
    choose = max if run.model.monitor_mode == "max" else min
    return choose(rows, key=lambda row: row[monitor])["epoch"] if rows else None


def source_of(run: StoredRun) -> dict[str, Any] | None:
    """Return the pretraining that a transfer carries; only the name where it is not in the same store any more."""
    if run.source is None:
        return None
    store = run.path.absolute().parent
    place = moved(run.source, store)
    source = checked(read(place)) if place.parent == store else None
    if source is not None and source.status == "finished":
        return relative(source, run)
    return {"name": place.name, "tested": {}, "address": None}


def control_of(run: StoredRun) -> StoredRun | None:
    """Return the run of the store that differs from a transfer in nothing but the arm, which is its control."""
    wanted = f"transfer-{run.settings.get('data.name')}-{run.control}-"
    for path in sorted(run.path.absolute().parent.glob("transfer-*")):
        if path.name.startswith(wanted) and f"-s{run.seed}-" in path.name:
            control = _without_secrets(checked(read(path)))
            if control.status != "finished" or is_untested(control.result) or control.directory.is_superseded:
                continue
            columns, _ = group_runs([run, control])
            if columns == ["transfer"] and replicate(control) == replicate(run):
                return control
    return None


def relative(other: StoredRun, run: StoredRun) -> dict[str, Any]:
    """Return what a run's page says of another run. address: of its page, None where there is none."""
    page = other.directory.page
    address = link(page, run.path.absolute()) if page.is_file() else None
    return {"name": other.name, "tested": other.tested, "address": address}


# Learning curves of one run, from history.json: training and validation of one quantity in one chart.

Rows = Sequence[dict[str, float]]

# A real run has a few; a history that somebody made up may have thousands.
MOST_CHARTS = 12
MOST_POINTS = 500
# Room for numbers such as 0.00025 on the left, and for `all weights` on the right.
MARGINS = {"left": 0.17, "right": 0.78, "bottom": 0.14, "top": 0.96}
# They go with accuracy and cross-entropy, and each chart takes a tenth of a second: TensorBoard has them.
LEFT_OUT = ("f1", "ece")
RATE = "optimizer/lr/"


def charts(rows: Rows, best: float | None, model: ModelFacts) -> list[Picture]:
    """Draw each quantity by epoch, and the learning rates.

    best: the epoch that was kept, marked by a line. model: what says which quantities come first, and what they are.
    """
    quantities = dict.fromkeys(
        name.partition("/")[2] for row in rows for name in row if name.startswith(("train/", "val/"))
    )
    shown = [name for name in quantities if name not in LEFT_OUT or f"val/{name}" == model.monitor]
    declared = list(model.metrics)
    ordered = sorted(shown, key=lambda name: declared.index(name) if name in declared else len(declared))
    drawn = [chart for quantity in ordered[:MOST_CHARTS] if (chart := _quantity(quantity, rows, best, model))]
    rates = _rates(rows)
    return [*drawn, *([_drawn(rates, "learning rate", "Learning rate, after the epoch", None)] if rates else [])]


def _quantity(quantity: str, rows: Rows, best: float | None, model: ModelFacts) -> Picture | None:
    lines = [line for part in ("train", "val") if (line := _line(part, f"{part}/{quantity}", rows))]
    if not lines:
        return None
    parts = [line.arm for line in lines]
    words = model.words(quantity) or OF_CALLBACKS.get(quantity, quantity)
    caption = f"{' and '.join(f'{part}/{quantity}' for part in parts)}: {words}"
    return _drawn(lines, quantity, caption, best)


def _rates(rows: Rows) -> list[Line]:
    """Return a line for each rate; groups of parameters that share theirs share a line."""
    sharing: dict[tuple[float, ...], list[str]] = {}
    for name in dict.fromkeys(name for row in rows for name in row if name.startswith(RATE)):
        sharing.setdefault(tuple(row.get(name, math.nan) for row in rows), []).append(name)
    lines = []
    for names in list(sharing.values())[:MOST_CHARTS]:
        first, others = names[0].removeprefix(RATE), len(names) - 1
        shown = "all weights" if len(sharing) == 1 else f"{first} + {others} more" if others else first
        if line := _line(shown, names[0], rows):
            lines.append(line)
    return lines


def _line(shown: str, name: str, rows: Rows) -> Line | None:
    points = [
        (row["epoch"], row[name])
        for row in rows
        if "epoch" in row and name in row and math.isfinite(row[name]) and abs(row[name]) < 1e100
    ]
    points = points[:: math.ceil(len(points) / MOST_POINTS) or 1]
    return Line(shown, [x for x, _ in points], [y for _, y in points], None, []) if points else None


def _drawn(lines: Iterable[Line], label: str, caption: str, best: float | None) -> Picture:
    figure = draw_lines(list(lines), "epoch", label, marked=best, margins=MARGINS)
    return Picture(data_uri(as_svg(figure), "svg+xml"), f"{caption}.")


# What a transfer is asked first.
FIRST = ("classifier", "regression", "labels")
MOST_MEASURES = 20
ON_CARD = "## Measured"


class Written(BaseModel):
    """As `aetransfer.evaluation.outcome.write_outcome` leaves it, without the facts that no table has room for."""

    measure: str
    data: str
    split: str
    rows: list[dict[str, Cell]]
    notes: list[str] = []


@dataclass(frozen=True)
class Measure:
    """long: whether its table would fill a page."""

    title: str
    table: TextTable | None
    notes: list[str]
    pictures: list[Picture]
    long: bool = False


def measures_of(directory: RunDirectory) -> list[Measure]:
    """Return what was measured of a run; a damaged file is named in place of what it held."""
    folder = directory.evaluation
    if folder.is_symlink() or not folder.is_dir():
        return []
    files = sorted(folder.glob("*.json"), key=lambda path: (path.stem.partition("-")[0] not in FIRST, path.stem))
    return [_measure(directory, path.stem) for path in files[:MOST_MEASURES]]


def write_on_card(directory: RunDirectory) -> None:
    """Write what was measured at the end of a run's MODEL_CARD.md, in place of what an earlier one had there."""
    if not directory.model_card.is_file():
        return
    before = directory.model_card.read_text(encoding="utf-8")
    card = before.partition(f"\n{ON_CARD}\n")[0]
    lines = [line for measure in measures_of(directory) for line in _on_card(measure)]
    whole = "\n".join([card, ON_CARD, *lines]) + "\n" if lines else card
    if whole != before:
        replace_file(directory.model_card, whole)


def _on_card(measure: Measure) -> list[str]:
    table = [] if measure.table is None or measure.long else [*markdown_of(measure.table), ""]
    return ["", f"### {escaped(measure.title)}", "", *table, *(f"- {escaped(note)}" for note in measure.notes)]


def _measure(directory: RunDirectory, name: str) -> Measure:
    path = directory.evaluation / f"{name}.json"
    try:
        found = written(path, Written)
    except (OSError, ValueError) as error:
        why = "it is not what a measure writes" if isinstance(error, ValidationError) else str(error)
        return Measure(name, None, [f"evaluation/{name}.json is damaged ({why})."], [])
    headings = list(dict.fromkeys(heading for row in found.rows for heading in row))
    words = [heading for heading in headings if any(isinstance(row.get(heading), str) for row in found.rows)]
    ordered = [*words, *(heading for heading in headings if heading not in words)]
    rows = [[text_of(row.get(heading)) for heading in ordered] for row in found.rows]
    drawn = [
        picture_at(path, path.stem.removeprefix(f"{name}-").replace("_", " "))
        for path in pictures_of(directory.evaluation, name)
    ]
    return Measure(
        title=f"{found.measure} on {found.data}, {found.split}",
        table=TextTable(ordered, rows, len(words)) if rows else None,
        notes=found.notes,
        pictures=[picture for picture in drawn if picture],
        long=len(rows) > 30,
    )
