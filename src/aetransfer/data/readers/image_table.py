"""Pictures with what a table says of each: values, many labels, or a class.

They are read as those of `aetransfer.data.readers.folder`, and decoded once into the same cache.
"""

from collections import Counter
from pathlib import Path

import numpy as np

from aetransfer.data.array_files import listed_in
from aetransfer.data.class_folders import Listing
from aetransfer.data.decoding import ImageSize, decoded
from aetransfer.data.examples import Examples, Split
from aetransfer.data.image_files import ImageFiles
from aetransfer.data.lazy import of_array
from aetransfer.data.meaning import Kind, PartName
from aetransfer.data.parts import Description, Part, examples_of, rows_of_splits
from aetransfer.data.reading import WHITE, Reading, remark, unused
from aetransfer.errors import UserError


def read_image_table(
    root: str | None,
    split: Split,
    image_size: ImageSize,
    cache_dir: str,
    table: str | None = None,
    inputs: str | None = None,
    targets: str | list[str] | None = None,
    kind: Kind | None = None,
    groups: str | None = None,
    background: int | None = None,
    value_range: tuple[float, float] | None = None,
    frame: int | None = None,
) -> Examples:
    """Read the pictures that a table names, as (N, 3, height, width) uint8.

    root: a folder. table: a .csv or .parquet file in it. inputs: its column of file names, below root. targets: a
    column, or several; None for none. groups: a column. Others: see `aetransfer.data.readers.folder.read_folder`.
    A column `split` says which are for training, validation and test. Raises UserError for what can't be read.
    """
    if root is None or table is None or not isinstance(inputs, str):
        raise UserError(
            "data=image_table needs data.root=DIR, data.table=FILE.csv, a file in it, and data.inputs=COLUMN, which "
            "names the pictures."
        )
    base = Path(root).resolve()
    columns, files = listed_in(base, table, inputs)
    names = [targets] if isinstance(targets, str) else targets or []
    given = [columns.named(name, "data.targets") for name in names]
    values = np.stack(given, 1) if given else None
    grouped = None if groups is None else columns.named(groups, "data.groups")
    at = str(columns.at)
    if kind is not None and values is None:
        raise UserError(f"{at}: data.kind={kind} is of targets: name their column with data.targets.")
    rows = rows_of_splits(columns.get("split"), len(files), at)
    behind: dict[Split, list[PartName]] = {"train": ["train", "val"], "test": ["test"]}
    asked, reading, notes = Reading(WHITE if background is None else background, value_range, frame), None, []
    made: dict[Split, np.ndarray] = {}
    counts = Counter[str]()
    for name, among in behind.items():
        chosen = [rows[part] for part in among if part in rows]
        if not chosen:
            continue
        listing = Listing.of(_some(files, np.concatenate(chosen)), ())
        pictures = decoded(listing, base / f"{table}-{name}", image_size, Path(cache_dir), reading or asked)
        made[name], reading = pictures.pixels.numpy(), reading or pictures.reading
        counts += Counter(pictures.counts)
        if said := remark(pictures.counts, len(made[name]), reading):
            notes.append(f"{at}, {name}: {said}.")
    notes += [f"{said}." for said in unused(asked, counts)]
    parts = {}
    for part, chosen_rows in rows.items():
        first = 0 if part != "val" else len(rows["train"])
        pixels = made["test" if part == "test" else "train"][first : first + len(chosen_rows)]
        of_part = None if values is None else values[chosen_rows]
        parts[part] = Part(of_array(pixels), of_part, None if grouped is None else grouped[chosen_rows])
    called = f"{at}: {', '.join(names[:3])}{', ...' if len(names) > 3 else ''}"
    described = Description(at, called, kind, (), names, groups or "group", notes, reading)
    return examples_of(parts, made, split, described)


def _some(files: ImageFiles, rows: np.ndarray) -> ImageFiles:
    everything = list(files)
    return ImageFiles.of(everything[row] for row in rows)
