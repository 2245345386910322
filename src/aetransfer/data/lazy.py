"""Arrays that are made example by example: in memory, or, where that is much, once in a file of the cache."""

import hashlib
import logging
import math
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, NamedTuple

import numpy as np

from aetransfer.errors import UserError
from aetransfer.files import replacing

log = logging.getLogger(__name__)

# More bytes than these are not made in memory.
MUCH = 1 << 28
# Of what is made at a time.
CHUNK = 1 << 24


@dataclass(frozen=True)
class Lazy:
    """shape: (N, ...). take: gives the examples at positions (B,) int64 as (B, ...) of the dtype. made: all of them as
    they are, where nothing has to be made: an array in memory, or a memory map.
    """

    shape: tuple[int, ...]
    dtype: np.dtype
    take: Callable[[np.ndarray], np.ndarray]
    made: np.ndarray | None = None

    def __len__(self) -> int:
        return self.shape[0]

    @property
    def nbytes(self) -> int:
        return math.prod(self.shape) * self.dtype.itemsize

    def chunks(self, what: str) -> Iterator[tuple[int, np.ndarray]]:
        """Yield the examples in parts, each with the position of its first. what: the part of the data that they are.

        Raises UserError for a value that is no number.
        """
        rows = max(1, CHUNK * len(self) // max(1, self.nbytes))
        for start in range(0, len(self), rows):
            chunk = self.take(np.arange(start, min(start + rows, len(self))))
            if chunk.dtype.kind == "f" and not np.isfinite(chunk).all():
                wrong = ~np.isfinite(chunk).reshape(len(chunk), -1).all(1)
                raise UserError(
                    f"The inputs of {what} example {start + int(wrong.argmax()):,} (the first is 0) have NaN or "
                    "infinite values, or values beyond float32: leave such examples out, or put numbers in their place."
                )
            yield start, chunk


class Cache(NamedTuple):
    """Where an array is kept. folder: of all caches. made_from: digits of where its files lie and how they are read;
    state: digits of what the files are, by size and time.
    """

    folder: Path
    made_from: str
    state: str

    @classmethod
    def of(cls, base: Path, state: str, keys: object, cache_dir: str) -> "Cache":
        made_from = hashlib.sha256(os.fsencode(f"{base.absolute()}\0{keys!r}")).hexdigest()[:12]
        return cls(Path(cache_dir), made_from, state)

    def path(self, what: str) -> Path:
        return self.folder / f"arrays-{self.made_from}-{what}-{self.state}.npy"

    def remove_older(self, what: str) -> None:
        """Remove what was kept of earlier states of the same files."""
        for path in self.folder.glob(self._replace(state="*").path(what).name):
            if path != self.path(what):
                path.unlink(missing_ok=True)


def of_array(array: np.ndarray) -> Lazy:
    return Lazy(array.shape, array.dtype, lambda rows: array[rows], made=array)


def chosen(lazy: Lazy, rows: np.ndarray) -> Lazy:
    """Return the examples at positions (M,) int64."""
    if len(rows) == len(lazy) and (rows == np.arange(len(lazy))).all():
        return lazy
    return Lazy((len(rows), *lazy.shape[1:]), lazy.dtype, lambda some: lazy.take(rows[some]))


def joined(parts: Sequence[Lazy]) -> Lazy:
    """Return parts of one shape, one behind another."""
    if len(parts) == 1:
        return parts[0]
    ends = np.cumsum([len(part) for part in parts])

    def take(rows: np.ndarray) -> np.ndarray:
        taken = np.empty((len(rows), *parts[0].shape[1:]), parts[0].dtype)
        for part, end in zip(parts, ends, strict=True):
            among = (rows < end) & (rows >= end - len(part))
            if among.any():
                taken[among] = part.take(rows[among] - (end - len(part)))
        return taken

    return Lazy((int(ends[-1]), *parts[0].shape[1:]), parts[0].dtype, take)


def materialised(lazy: Lazy, what: str, cache: Cache) -> np.ndarray:
    """Make all examples, as (N, ...) that may be a memory map. what: the part that they are, as files and sentences
    call it.

    Raises UserError for a value that is no number, and where the cache can't be written.
    """
    if lazy.made is not None:
        for _ in lazy.chunks(what):
            pass
        return lazy.made
    if lazy.nbytes <= MUCH:
        made = np.empty(lazy.shape, lazy.dtype)
        for start, chunk in lazy.chunks(what):
            made[start : start + len(chunk)] = chunk
        return made
    path = cache.path(what)
    kept = mapped(path, lazy.shape, lazy.dtype)
    if kept is None:
        log.info("Writing %s examples, %.1f GB, to %s", what, lazy.nbytes / 1e9, path)
        with written(path, lazy.nbytes) as file:
            header = {"descr": lazy.dtype.str, "fortran_order": False, "shape": lazy.shape}
            np.lib.format.write_array_header_1_0(file, header)
            for _, chunk in lazy.chunks(what):
                file.write(np.ascontiguousarray(chunk).data)
        cache.remove_older(what)
        kept = mapped(path, lazy.shape, lazy.dtype)
        assert kept is not None, path
    return kept


@contextmanager
def written(path: Path, size: int) -> Iterator[BinaryIO]:
    """Open a file of the cache to write to: all of it is there afterwards, or nothing.

    Raises UserError where that can't be written. It is not memory-mapped: a disk that becomes full would end the
    process with SIGBUS.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with replacing(path) as partial, partial.open("wb") as file:
            yield file
    except OSError as error:
        raise UserError(
            f"{path} can't be written ({error.strerror}), it takes {size:,} bytes: make room or let it be written, or "
            "set paths.cache_dir to another folder."
        ) from error


def mapped(path: Path, shape: tuple[int, ...], dtype: np.dtype) -> np.memmap | None:
    """Map a .npy of the cache, copy-on-write: torch wants a writable array, and nobody may change the file.

    None for one that is absent, damaged, or of other examples; a pickle in its place is not unpickled.
    """
    if not path.is_file():
        return None
    try:
        array = np.lib.format.open_memmap(path, mode="c")
    except (ValueError, OSError, EOFError) as error:
        log.warning("%s is damaged and made again: %s", path, error)
        return None
    if array.dtype != dtype or array.shape != shape or not array.flags.c_contiguous:
        log.warning("%s is not the cache of these examples and made again.", path)
        return None
    return array


# What an axis of an array is: example, channel, height, width, length of a signal, and entry of a vector.
AXES = ("ND", "NL", "NCL", "NLC", "NHW", "NHWC", "NCHW")
FEW_CHANNELS = (1, 3, 4)


def as_named(array: np.ndarray, axes: str | None, name: str) -> Lazy:
    """Return an array as images (N, C, H, W), signals (N, C, L) or vectors (N, D), float32 unless 8-bit images."""
    axes = axes or _unambiguous(array, name)
    if axes not in AXES:
        raise UserError(f"data.axes={axes} names no order of axes that is known: choose among {', '.join(AXES)}.")
    if len(axes) != array.ndim:
        raise UserError(f"{name} is {array.shape}, and data.axes={axes} is for {len(axes)} axes: correct it.")
    if "C" not in axes and axes != "ND":
        array, axes = array[:, None], f"NC{axes[1:]}"
    target = next(order for order in ("NCHW", "NCL", "ND") if set(order) == set(axes))
    array = array.transpose([axes.index(axis) for axis in target])
    is_pixels = array.dtype == np.uint8 and target == "NCHW"
    if (is_pixels or array.dtype == np.float32) and array.dtype.isnative and array.flags.c_contiguous:
        return of_array(array)
    dtype = np.dtype(np.uint8 if is_pixels else np.float32)

    def take(rows: np.ndarray) -> np.ndarray:
        with np.errstate(over="ignore"):  # infinite values are refused
            return array[rows].astype(dtype)

    return Lazy(array.shape, dtype, take)


def _unambiguous(array: np.ndarray, name: str) -> str:
    if array.ndim == 1:
        raise UserError(f"{name} is {array.shape}: give one row for each example, (N, ...).")
    if array.ndim == 2:
        return "ND"
    if array.dtype == np.uint8 and array.ndim == 3:
        return "NHW"
    if array.dtype == np.uint8 and array.ndim == 4 and array.shape[3] in FEW_CHANNELS:
        return "NHWC"
    fits = [axes for axes in AXES if len(axes) == array.ndim]
    if not fits:
        raise UserError(f"{name} is {array.shape}: give at most four axes, images (N, C, H, W) for instance.")
    raise UserError(
        f"{name} is {array.shape} of {array.dtype}: say what its axes are with data.axes, {' or '.join(fits)}."
    )


def said_of(array: np.ndarray, name: str, made: Lazy) -> str:
    what = {2: "vectors", 3: "signals", 4: "images"}[len(made.shape)]
    if made.dtype == np.uint8:
        return f"{name}: {what} of 8 bits, {made.shape[1:]} each."
    some_rows = made.take(np.unique(np.linspace(0, len(made) - 1, min(len(made), 1000)).astype(np.int64)))
    rounded = array.dtype.kind in "iuf" and array.dtype.itemsize > 4
    return (
        f"{name}: {what}, {made.shape[1:]} each, of {array.dtype} from {some_rows.min():g} to {some_rows.max():g}"
        f"{' in a thousand of them' if len(made) > 1000 else ''}, kept in their own units"
        f"{', rounded to float32' if rounded else ''}."
    )
