"""A table of pictures: a file name in each line, and what is known of it. Nothing here imports torch."""

import os
from pathlib import Path

from aetransfer.data.array_files import Arrays
from aetransfer.data.image_files import ImageFiles
from aetransfer.errors import UserError


def listed_in(root: Path, table: str, inputs: str) -> tuple[Arrays, ImageFiles]:
    """Return the columns of root/table, and the files that its column `inputs` names, in its order.

    Raises UserError for a table that can't be read, and for a file that is not there or not below root.
    """
    path = root / table
    if not path.is_file():
        raise UserError(f"{path} does not exist: data.table names a .csv or .parquet file in data.root.")
    arrays = Arrays.of_table(path, text=(inputs,))
    base, files = os.path.realpath(root), ImageFiles()
    missing: list[str] = []
    for row, name in enumerate(map(str, arrays.named(inputs, "data.inputs"))):
        if not name:
            raise UserError(f"{path}: example {row:,} (the first is 0) names no file in {inputs}: fill it in.")
        picture = os.path.normpath(Path(base, name))
        if not picture.startswith(f"{base}{os.sep}"):
            raise UserError(f"{path} names {name!r:.80}, which is not below {root}: put the pictures there.")
        try:
            files.add_file(name, picture)
        except OSError:
            missing.append(name)
    if missing:
        of = f" (1 of {len(missing):,} such files)" if len(missing) > 1 else ""
        raise UserError(
            f"{path} names {missing[0]!r:.80}, which is not in {root}{of}: put it there, or correct {inputs}."
        )
    return arrays, files
