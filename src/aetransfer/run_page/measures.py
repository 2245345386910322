"""What `evaluate` found about a run: its tables, notes and pictures, read back from evaluation/*.json."""

from dataclasses import dataclass

from pydantic import BaseModel, ValidationError

from aetransfer.evaluation.outcome import Cell, pictures_of, text_of
from aetransfer.html.picture import Picture, is_picture
from aetransfer.runs.directory import RunDirectory
from aetransfer.runs.files import replace_file
from aetransfer.runs.plain import read_json
from aetransfer.sweeps.tables import TextTable, escaped, markdown_of

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
    written = directory.model_card.read_text(encoding="utf-8")
    card = written.partition(f"\n{ON_CARD}\n")[0]
    lines = [line for measure in measures_of(directory) for line in _on_card(measure)]
    whole = "\n".join([card, ON_CARD, *lines]) + "\n" if lines else card
    if whole != written:
        replace_file(directory.model_card, whole)


def _on_card(measure: Measure) -> list[str]:
    table = [] if measure.table is None or measure.long else [*markdown_of(measure.table), ""]
    return ["", f"### {escaped(measure.title)}", "", *table, *(f"- {escaped(note)}" for note in measure.notes)]


def _measure(directory: RunDirectory, name: str) -> Measure:
    path = directory.evaluation / f"{name}.json"
    try:
        if path.is_symlink():
            raise ValueError("it is a link")
        written = Written.model_validate(read_json(path))
    except (OSError, ValueError) as error:
        why = "it is not what a measure writes" if isinstance(error, ValidationError) else str(error)
        return Measure(name, None, [f"evaluation/{name}.json is damaged ({why})."], [])
    headings = list(dict.fromkeys(heading for row in written.rows for heading in row))
    words = [heading for heading in headings if any(isinstance(row.get(heading), str) for row in written.rows)]
    ordered = [*words, *(heading for heading in headings if heading not in words)]
    rows = [[text_of(row.get(heading)) for heading in ordered] for row in written.rows]
    return Measure(
        title=f"{written.measure} on {written.data}, {written.split}",
        table=TextTable(ordered, rows, len(words)) if rows else None,
        notes=written.notes,
        pictures=_pictures(directory, name),
        long=len(rows) > 30,
    )


def _pictures(directory: RunDirectory, name: str) -> list[Picture]:
    return [
        Picture(path, path.stem.removeprefix(f"{name}-").replace("_", " "))
        for path in pictures_of(directory.evaluation, name)
        if is_picture(path)
    ]
