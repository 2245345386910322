"""The table that inputs end in: CSV, NPZ or Parquet, whole or not there."""

import csv
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from aetransfer.errors import UserError
from aetransfer.files import replacing


@dataclass(frozen=True)
class Table:
    """A row for each input.

    leading: columns by name, (N,) each. name, values: the block of numbers (N, D) float32, an array of its own in an
    .npz. columns: its D names in the other two formats.
    """

    leading: dict[str, np.ndarray]
    name: str
    values: np.ndarray
    columns: list[str]

    def write(self, path: Path) -> None:
        """Write in the format of the path's ending. Raises UserError where that fails."""
        try:
            with replacing(path) as partial:
                match path.suffix:
                    case ".csv":
                        self._write_csv(partial)
                    case ".npz":
                        self._write_npz(partial)
                    case ".parquet":
                        self._write_parquet(partial)
        except OSError as error:
            raise UserError(f"out={path} can't be written ({error.strerror or error}).") from error

    def _write_csv(self, path: Path) -> None:
        with path.open("w", newline="", encoding="utf-8") as file:
            writer = csv.writer(file, lineterminator="\n")
            writer.writerow([*self.leading, *self.columns])
            for *first, numbers in zip(*self.leading.values(), self.values, strict=True):
                # As NumPy writes a float32, it is read back to the bit.
                writer.writerow([*first, *numbers])

    def _write_npz(self, path: Path) -> None:
        arrays: dict[str, Any] = {**self.leading, self.name: self.values, "columns": np.array(self.columns)}
        with path.open("wb") as file:
            np.savez(file, **arrays)

    def _write_parquet(self, path: Path) -> None:
        import pyarrow
        from pyarrow import parquet

        columns = dict(self.leading) | {
            name: np.ascontiguousarray(column) for name, column in zip(self.columns, self.values.T, strict=True)
        }
        parquet.write_table(pyarrow.table(columns), path)
