"""Pictures with what a table says of each: values, many labels, or a class.

They are read as those of `aetransfer.data.readers.folder`, and decoded once into the same cache.
"""

from pathlib import Path

import numpy as np

from aetransfer.data.array_files import listed_in
from aetransfer.data.decoding import ImageSize
from aetransfer.data.examples import Examples, Split
from aetransfer.data.meaning import Kind
from aetransfer.data.parts import OF_SPLIT, Description, rows_of_splits
from aetransfer.data.readers.folder import read_pictures
from aetransfer.data.reading import WHITE, Reading
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
    described = Description(at, kind, (), names, groups or "group")
    where = {each: (base / f"{table}-{each}", f"{at}, {each}: ") for each in OF_SPLIT}
    return read_pictures(
        {part: files.at(chosen) for part, chosen in rows.items()},
        where,
        split,
        image_size,
        cache_dir,
        Reading(WHITE if background is None else background, value_range, frame),
        described,
        {} if values is None else {part: values[chosen] for part, chosen in rows.items()},
        None if grouped is None else {part: grouped[chosen] for part, chosen in rows.items()},
    )
