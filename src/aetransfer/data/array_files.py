"""Named arrays in files: .npz, .npy, a folder of .npy, .csv and .parquet. A pickle is never opened.

What a file claims to hold is compared with its size before any of it is read. An array of many bytes is memory-mapped:
a .npy, and what an .npz holds uncompressed, where it lies; what an .npz holds compressed in a copy in the cache.
"""

import csv
import logging
import math
import os
import shutil
import zipfile
import zlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import IO, Any

import numpy as np

from aetransfer.data.image_files import ImageFiles
from aetransfer.data.lazy import MUCH, Cache, written
from aetransfer.data.targets import listed, near
from aetransfer.errors import UserError
from aetransfer.origin import pip_install

log = logging.getLogger(__name__)

DAMAGED = (
    *(OSError, EOFError, ValueError, TypeError, SyntaxError, KeyError, RecursionError, MemoryError, OverflowError),
    *(zlib.error, zipfile.BadZipFile, NotImplementedError, RuntimeError),
)


@dataclass(frozen=True)
class Header:
    """Of a .npy. offset: where its values begin."""

    shape: tuple[int, ...]
    dtype: np.dtype
    fortran: bool
    offset: int

    @property
    def nbytes(self) -> int:
        return math.prod(self.shape) * self.dtype.itemsize


class Arrays(Mapping[str, np.ndarray]):
    """The arrays of a file or folder by name. They are read when they are asked for.

    at: where they lie. is_table: they are columns of a table, all (N,).
    """

    def __init__(
        self, at: Path, arrays: Mapping[str, np.ndarray | Callable[[], np.ndarray]], is_table: bool = False
    ) -> None:
        self.at, self.is_table, self._arrays = at, is_table, dict(arrays)

    def __getitem__(self, name: str) -> np.ndarray:
        array = self._arrays[name]
        if not isinstance(array, np.ndarray):
            array = self._arrays[name] = array()
        return array

    def __iter__(self) -> Iterator[str]:
        return iter(self._arrays)

    def __len__(self) -> int:
        return len(self._arrays)

    def named(self, name: str, key: str) -> np.ndarray:
        """Return an array. key: the config's, that names it. Raises UserError where there is none of that name."""
        if name not in self:
            what = "column" if self.is_table else "array"
            raise UserError(
                f"{self.at} has no {what} {name}, which {key} names{near(name, list(self))}: it has "
                f"{listed(list(self), f'{what}s')}."
            )
        return self[name]


def opened(root: Path, cache: Cache) -> Arrays:
    """Return the arrays of a file, or of a folder of .npy files. Raises UserError for what is neither, or damaged."""
    if root.is_dir():
        files = {path.stem: path for path in sorted(root.glob("*.npy")) if not path.name.startswith(".")}
        if not files:
            raise UserError(f"{root} holds no .npy file: name such a folder, or a .npz, .npy, .csv or .parquet file.")
        return Arrays(root, {name: _of_npy(path) for name, path in files.items()})
    if not root.is_file():
        raise UserError(f"{root} does not exist: name a .npz, .npy, .csv or .parquet file, or a folder of .npy files.")
    match root.suffix.lower():
        case ".npy":
            return Arrays(root, {root.stem: _of_npy(root)})
        case ".npz":
            return Arrays(root, _of_npz(root, cache))
        case ".csv" | ".parquet":
            return Arrays(root, read_table(root), is_table=True)
    raise UserError(
        f"{root} is none of .npz, .npy, .csv and .parquet: convert it, in Python with numpy.savez(PATH, inputs=..., "
        "targets=...)."
    )


def _of_npy(path: Path) -> Callable[[], np.ndarray]:
    def load() -> np.ndarray:
        try:
            with path.open("rb") as file:
                header = _header(file, str(path))
            _check_size(header, path.stat().st_size - header.offset, str(path))
            if header.nbytes > MUCH:
                return _mapped(path, header, header.offset)
            values = np.fromfile(path, header.dtype, offset=header.offset)
            return values.reshape(header.shape, order="F" if header.fortran else "C")
        except DAMAGED as error:
            raise _unreadable(str(path), error) from error

    return load


def _of_npz(path: Path, cache: Cache) -> dict[str, Callable[[], np.ndarray]]:
    try:
        with zipfile.ZipFile(path) as file:
            members = {info.filename.removesuffix(".npy"): info for info in file.infolist()}
    except DAMAGED as error:
        raise _unreadable(str(path), error) from error
    if not members:
        raise UserError(f"{path} is empty: it holds no array.")

    return {name: partial(_member, path, info, cache) for name, info in members.items()}


def _member(path: Path, info: zipfile.ZipInfo, cache: Cache) -> np.ndarray:
    name = f"{path}, {info.filename}"
    try:
        with zipfile.ZipFile(path) as file, file.open(info) as member:
            header = _header(member, name)
            _check_size(header, info.file_size - header.offset, name)
            if header.nbytes <= MUCH:
                # One byte more, for the checksum is compared at the end.
                content = member.read(header.nbytes + 1)
                if len(content) != header.nbytes:
                    raise ValueError(f"{len(content)} bytes instead of {header.nbytes}")
                values = np.frombuffer(bytearray(content), header.dtype)
                return values.reshape(header.shape, order="F" if header.fortran else "C")
        if info.compress_type == zipfile.ZIP_STORED:
            return _mapped(path, header, _start_of(path, info) + header.offset)
        return _unpacked(path, info, header, cache)
    except DAMAGED as error:
        raise _unreadable(name, error) from error


def _start_of(path: Path, info: zipfile.ZipInfo) -> int:
    """Return where in a zip a member begins: behind 30 bytes, its name and what else its own header has."""
    with path.open("rb") as file:
        file.seek(info.header_offset + 26)
        name, extra = np.frombuffer(file.read(4), "<u2")
    return info.header_offset + 30 + int(name) + int(extra)


def _unpacked(path: Path, info: zipfile.ZipInfo, header: Header, cache: Cache) -> np.ndarray:
    """Map the copy of a compressed member, which is made first where there is none."""
    what = f"unpacked-{zlib.crc32(info.filename.encode()):08x}"
    copy = cache.path(what)
    if not copy.is_file() or copy.stat().st_size != info.file_size:
        with zipfile.ZipFile(path) as file, file.open(info) as member, written(copy, info.file_size) as out:
            if (free := shutil.disk_usage(copy.parent).free) < info.file_size:
                raise UserError(
                    f"{path} claims {info.file_size / 1e9:.1f} GB for {info.filename}, and {copy.parent} has "
                    f"{free / 1e9:.1f} GB free: make room, or set paths.cache_dir to another folder."
                )
            log.info("Unpacking %s of %s, %.1f GB, to %s", info.filename, path, info.file_size / 1e9, copy)
            shutil.copyfileobj(member, out, 1 << 20)
        cache.remove_older(what)
    return _mapped(copy, header, header.offset)


def _header(file: IO[bytes], name: str) -> Header:
    """Read the header of a .npy. Raises ValueError for what is none, and UserError for one of no plain values."""
    version = np.lib.format.read_magic(file)
    read: dict[tuple[int, int], Callable[[Any], Any]] = {
        (1, 0): np.lib.format.read_array_header_1_0,
        (2, 0): np.lib.format.read_array_header_2_0,
    }
    if version not in read:
        raise ValueError(f"format {version}")
    shape, fortran, dtype = read[version](file)
    if dtype.hasobject:
        raise UserError(
            f"{name} holds Python objects, which only unpickling could read, and that runs what is in them: save plain "
            "arrays, and signals of several lengths as numpy.concatenate(signals) with an array lengths beside it."
        )
    if dtype.kind not in "biufUS":
        raise UserError(f"{name} holds {dtype}: save whole or decimal numbers, truth values, or text.")
    return Header(tuple(shape), dtype, fortran, file.tell())


def _check_size(header: Header, found: int, name: str) -> None:
    if header.nbytes != found:
        raise UserError(
            f"{name} is truncated or damaged: its header says {header.shape} of {header.dtype}, {header.nbytes:,} "
            f"bytes, and it has {found:,}."
        )


def _mapped(path: Path, header: Header, offset: int) -> np.ndarray:
    # Copy-on-write: torch wants a writable array, and nobody may change the file.
    return np.memmap(path, header.dtype, "c", offset, header.shape, "F" if header.fortran else "C")


def _unreadable(name: str, error: BaseException) -> UserError:
    if isinstance(error, UserError):
        return error
    reason = getattr(error, "strerror", None) or " ".join(str(error).split()) or type(error).__name__
    if "allow_pickle" in reason or "magic string" in reason:
        reason = "it is no array of NumPy's"
    return UserError(f"{name} can't be read ({reason:.120}): replace it.")


def read_table(path: Path, text: tuple[str, ...] = ()) -> dict[str, np.ndarray]:
    """Read a .csv, with a line of names first, or a .parquet: columns (N,) by name, of numbers, truth values or text.

    A missing number is NaN, a missing text is empty. text: columns that are text, whatever is in them. In a .csv an
    empty field is missing, and nothing else is. Fields lie between commas, or semicolons or tabs where the first line
    has more of those. Raises UserError for what is no such table.
    """
    import pandas as pd

    try:
        if path.suffix.lower() == ".parquet":
            frame = pd.read_parquet(path)
        else:
            with path.open(encoding="utf-8-sig", newline="") as file:
                first = file.readline()
            separator = max(",;\t", key=first.count)
            names = next(csv.reader([first], delimiter=separator), [])
            if twice := [name for name in names if names.count(name) > 1]:
                raise UserError(f"{path} has two columns called {twice[0] or 'nothing'}: give each a name of its own.")
            frame = pd.read_csv(
                path,
                sep=separator,
                encoding="utf-8-sig",
                keep_default_na=False,
                na_values=[""],
                dtype={name: str for name in text if name in names},
                index_col=False,
                low_memory=False,
            )
    except ImportError as error:
        raise UserError(f"{path} needs pyarrow: {pip_install('parquet')}.") from error
    except UserError:
        raise
    # pandas and pyarrow have many errors of their own for what is damaged.
    except (*DAMAGED, pd.errors.ParserError, pd.errors.EmptyDataError) as error:
        raise UserError(
            f"{path} can't be read as a table ({' '.join(str(error).split()):.120}): replace it, or save it as CSV in "
            "UTF-8 with the columns' names in the first line."
        ) from error
    if frame.empty:
        raise UserError(f"{path} is empty: a line of names, and a line for each example.")
    return {str(name): _column(frame[name], f"{path}, column {name}") for name in frame.columns}


def _column(series: Any, name: str) -> np.ndarray:
    import pandas as pd

    kinds = pd.api.types
    if kinds.is_bool_dtype(series.dtype) and not series.hasnans:
        return np.asarray(series, bool)
    if kinds.is_integer_dtype(series.dtype) and not series.hasnans:
        return np.asarray(series)
    if kinds.is_numeric_dtype(series.dtype) and series.dtype.kind != "c":
        return np.asarray(series, np.float64)
    values = series.astype(object).where(series.notna(), "")
    if kinds.is_string_dtype(series.dtype) or isinstance(series.dtype, pd.CategoricalDtype):
        return np.array([str(value) for value in values], str)
    if all(isinstance(value, str | bool | int | float) for value in values):
        return np.array([str(value) for value in values], str)
    raise UserError(f"{name} holds {type(values.iloc[0]).__name__}: save whole or decimal numbers, or text.")


def listed_in(root: Path, table: str, inputs: str) -> tuple[Arrays, ImageFiles]:
    """Return the columns of root/table, and the files that its column `inputs` names, in its order.

    Raises UserError for a table that can't be read, and for a file that is not there or not below root.
    """
    path = root / table
    if not path.is_file():
        raise UserError(f"{path} does not exist: data.table names a .csv or .parquet file in data.root.")
    arrays = Arrays(path, read_table(path, text=(inputs,)), is_table=True)
    base, files = os.path.realpath(root), ImageFiles()
    missing: list[str] = []
    for row, name in enumerate(map(str, arrays.named(inputs, "data.inputs"))):
        if not name:
            raise UserError(f"{path}: example {row:,} (the first is 0) names no file in {inputs}: fill it in.")
        picture = os.path.normpath(Path(base, name))
        if not picture.startswith(f"{base}{os.sep}"):
            raise UserError(f"{path} names {name!r:.80}, which is not below {root}: put the pictures there.")
        try:
            files.add(name, picture)
        except OSError:
            missing.append(name)
    if missing:
        of = f" (1 of {len(missing):,} such files)" if len(missing) > 1 else ""
        raise UserError(
            f"{path} names {missing[0]!r:.80}, which is not in {root}{of}: put it there, or correct {inputs}."
        )
    return arrays, files
