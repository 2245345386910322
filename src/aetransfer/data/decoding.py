"""Image files as arrays of bytes, decoded once into a memory-mapped file of the cache."""

import functools
import glob
import hashlib
import json
import logging
import math
import os
import uuid
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import BinaryIO, NamedTuple

import numpy as np
import torch
from PIL import Image, ImageOps, UnidentifiedImageError

from aetransfer.data.class_folders import Listing
from aetransfer.data.pixels import Extremes, UnusableError, show
from aetransfer.data.reading import UNSTATED, Range, Reading, full_range, reading_of
from aetransfer.errors import UserError

log = logging.getLogger(__name__)

# Height and width in pixels, or both in one number.
ImageSize = int | Sequence[int]

# A cache of another version holds other pixels of the same files.
VERSION = "v2"


@dataclass(frozen=True)
class Decoded:
    """pixels: (N, 3, height, width) uint8, memory-mapped. reading: with the range that was found, where it had none.
    counts: images by what was done with them.
    """

    pixels: torch.Tensor
    reading: Reading
    counts: dict[str, int]


class Picture(NamedTuple):
    """pixels: (3, height, width) uint8. marks: what was done."""

    pixels: np.ndarray
    marks: frozenset[str]


class _Cached(NamedTuple):
    array: np.ndarray
    value_range: Range | None
    counts: dict[str, int]


def sides_of(image_size: ImageSize) -> tuple[int, int]:
    """Return height and width."""
    height, width = (image_size, image_size) if isinstance(image_size, int) else image_size
    return height, width


def decoded(listing: Listing, folder: Path, image_size: ImageSize, cache_dir: Path, reading: Reading) -> Decoded:
    """Return the images of a listing from the cache, which is written first where it is absent or stale.

    A reading without a range is decided by these images: they are the training split. Its range is then for all others.
    """
    place = hashlib.sha256(os.fsencode(folder)).hexdigest()[:12]
    height, width = sides_of(image_size)
    size = f"{height}" if height == width else f"{height}x{width}"
    images = f"{folder.parent.name}-{folder.name}-{place}-{size}px-"
    # What was found follows from the training images, and a stated range is a choice: its cache stands beside others.
    stated = replace(reading, value_range=None) if reading.found else reading
    family = f"{images}{VERSION}-{_digest(json.dumps(stated.plain()), 6)}-"
    contents = json.dumps([listing.fingerprint, reading.plain(), reading.found])
    cache = cache_dir / f"{family}{_digest(contents, 16)}.npy"
    shape = (len(listing.files), 3, height, width)
    cached = _cached(cache, shape)
    if cached is None:
        log.info("Decoding %d images of %s into %s", len(listing.files), folder, cache)
        try:
            cache_dir.mkdir(parents=True, exist_ok=True)
            _write(cache, listing.files, image_size, reading)
        except OSError as error:
            raise UserError(
                f"{cache} can't be written ({error.strerror}), it takes {math.prod(shape):,} bytes: make room or let "
                "it be written, or set paths.cache_dir to another folder."
            ) from error
        for other in cache_dir.glob(f"{glob.escape(images)}*.npy"):
            of_other_settings = other.name.startswith(f"{images}{VERSION}-") and not other.name.startswith(family)
            if other != cache and not of_other_settings:
                other.unlink(missing_ok=True)
        cached = _cached(cache, shape)
        assert cached is not None, cache
    found = reading if reading.decided else replace(reading, value_range=cached.value_range, found=True)
    return Decoded(torch.from_numpy(cached.array), found, cached.counts)


def _digest(text: str, digits: int) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:digits]


def _cached(cache: Path, shape: tuple[int, ...]) -> _Cached | None:
    """Map a cache, copy-on-write: torch wants a writable array, and nobody may change the file.

    None for one that is absent, damaged or another's: a pickle in its place is not unpickled.
    """
    if not cache.is_file():
        return None
    try:
        array = np.lib.format.open_memmap(cache, mode="c")
        if array.dtype != np.uint8 or array.shape != shape or not array.flags.c_contiguous:
            log.warning("%s is not the cache of these images and decoded again.", cache)
            return None
        with cache.open("rb") as file:
            file.seek(array.offset + array.nbytes)
            found = json.load(file)
        counts = {str(mark): int(count) for mark, count in found["counts"].items()}
        return _Cached(array, reading_of(found).value_range, counts)
    except (ValueError, OSError, EOFError, LookupError, TypeError, AttributeError, RecursionError) as error:
        log.warning("%s is damaged and decoded again: %s", cache, error)
        return None


def _write(cache: Path, files: list[str], image_size: ImageSize, reading: Reading) -> None:
    """Decode into a file of its own, then rename it: two jobs that start together each leave a whole cache.

    What was found stands behind the pixels, in the same file: neither is ever there without the other.
    """
    partial_file = cache.with_suffix(f".{uuid.uuid4().hex}.partial")
    height, width = sides_of(image_size)
    header = {"descr": "|u1", "fortran_order": False, "shape": (len(files), 3, height, width)}
    undecided: dict[int, Extremes] = {}
    counts: Counter[str] = Counter()
    try:
        # Not memory-mapped: a disk that becomes full would end the process with SIGBUS.
        with partial_file.open("wb") as file, ThreadPoolExecutor(os.cpu_count()) as pool:
            np.lib.format.write_array_header_1_0(file, header)
            start, size = file.tell(), 3 * height * width
            decode_file = partial(_decode, image_size=image_size, reading=reading)
            for row, outcome in enumerate(pool.map(decode_file, files)):
                if isinstance(outcome, Extremes):
                    undecided[row] = outcome
                    file.seek(size, os.SEEK_CUR)
                else:
                    counts.update(outcome.marks)
                    file.write(outcome.pixels.tobytes())
            if undecided:
                reading = replace(reading, value_range=_range_of(undecided, files))
            decode_file = partial(_decode, image_size=image_size, reading=reading)
            for row, outcome in zip(undecided, pool.map(decode_file, [files[row] for row in undecided]), strict=True):
                assert isinstance(outcome, Picture)
                counts.update(outcome.marks)
                file.seek(start + row * size)
                file.write(outcome.pixels.tobytes())
            file.seek(start + len(files) * size)
            file.write(json.dumps(reading.plain() | {"counts": counts}).encode())
            file.flush()
            os.fsync(file.fileno())
        partial_file.replace(cache)
    finally:
        partial_file.unlink(missing_ok=True)


def _range_of(images: dict[int, Extremes], files: list[str]) -> Range:
    """Return the range of all images with more than 8 bits. Raises UserError where no range fits them all."""
    largest = max(images, key=lambda row: images[row].high)
    value_range = full_range(min(image.low for image in images.values()), images[largest].high)
    for row, image in images.items():
        if not image.fit(value_range):
            raise UserError(
                f"{files[row]} holds fractions from 0 to 1 and {files[largest]} values up to {images[largest].high:g}, "
                "and one range has to fit all training images: convert one kind, or set data.value_range=[low,high]."
            )
    return value_range


def _decode(path: str, image_size: ImageSize, reading: Reading) -> Picture | Extremes:
    return _decoded_or_extremes(Path(path), image_size, path, reading)


def decode(source: Path | BinaryIO, image_size: ImageSize, name: str | Path, reading: Reading = UNSTATED) -> Picture:
    """Return an image as (3, height, width) uint8, cropped about its centre to the sides' ratio and resized.

    Raises UserError, which calls the image by `name`, for what is no image, is damaged or is too large, has several
    frames of which none is chosen, or more than 8 bits and no range.
    """
    decided = reading if reading.decided else replace(reading, found=True)
    picture = _decoded_or_extremes(source, image_size, name, decided)
    assert isinstance(picture, Picture)
    return picture


def _decoded_or_extremes(
    source: Path | BinaryIO, image_size: ImageSize, name: str | Path, reading: Reading
) -> Picture | Extremes:
    try:
        with Image.open(source, formats=_formats()) as image:
            return picture_of(image, image_size, reading)
    except UnidentifiedImageError as error:
        raise UserError(
            f"{name} can't be read as an image (no format that Pillow knows): replace or remove it."
        ) from error
    except UnusableError as error:
        raise UserError(f"{name} {error}.") from error
    except MemoryError:
        raise
    except Exception as error:  # Pillow's decoders answer broken bytes with SyntaxError, RuntimeError and many more.
        raise UserError(f"{name} can't be read as an image ({error}): replace or remove it.") from error


def picture_of(image: Image.Image, image_size: ImageSize, reading: Reading) -> Picture | Extremes:
    """Return an opened image as `decode` does, or its extremes where the reading is still to be decided."""
    shown = show(image, reading)
    if isinstance(shown, Extremes):
        return shown
    colour, marks = shown
    height, width = sides_of(image_size)
    if colour.size != (width, height):
        colour = ImageOps.fit(colour, (width, height), Image.Resampling.BICUBIC)
    return Picture(np.asarray(colour).transpose(2, 0, 1), marks)


@functools.cache
def _formats() -> list[str]:
    """Return the formats that Pillow decodes itself. For PostScript it would start another program on the file."""
    Image.init()
    return [name for name in Image.ID if name != "EPS"]
