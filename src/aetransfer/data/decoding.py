"""Image files as arrays of bytes, decoded once into a memory-mapped file of the cache."""

import functools
import glob
import hashlib
import json
import logging
import math
import os
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

from aetransfer.data.image_files import ImageFiles
from aetransfer.data.lazy import mapped, written
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


def sides_of(image_size: ImageSize) -> tuple[int, int]:
    """Return height and width."""
    height, width = (image_size, image_size) if isinstance(image_size, int) else image_size
    return height, width


def decoded(files: ImageFiles, folder: Path, image_size: ImageSize, cache_dir: Path, reading: Reading) -> Decoded:
    """Return images from the cache, which is written first where it is absent or stale.

    A reading without a range is decided by these images: they are the training split. Its range is then for all others.
    """
    place = hashlib.sha256(os.fsencode(folder)).hexdigest()[:12]
    height, width = sides_of(image_size)
    size = f"{height}" if height == width else f"{height}x{width}"
    images = f"{folder.parent.name}-{folder.name}-{place}-{size}px-"
    # What was found follows from the training images, and a stated range is a choice: its cache stands beside others.
    stated = replace(reading, value_range=None) if reading.found else reading
    family = f"{images}{VERSION}-{_digest(json.dumps(stated.plain()), 6)}-"
    contents = json.dumps([files.fingerprint, reading.plain(), reading.found])
    cache = cache_dir / f"{family}{_digest(contents, 16)}.npy"
    shape = (len(files), 3, height, width)
    found = _cached(cache, shape, reading)
    if found is None:
        log.info("Decoding %d images of %s into %s", len(files), folder, cache)
        _write(cache, shape, files.paths, reading)
        for other in cache_dir.glob(f"{glob.escape(images)}*.npy"):
            of_other_settings = other.name.startswith(f"{images}{VERSION}-") and not other.name.startswith(family)
            if other != cache and not of_other_settings:
                other.unlink(missing_ok=True)
        found = _cached(cache, shape, reading)
        assert found is not None, cache
    return found


def _digest(text: str, digits: int) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:digits]


def _cached(cache: Path, shape: tuple[int, ...], reading: Reading) -> Decoded | None:
    """Map a cache; None for one that is absent, damaged or another's: a pickle in its place is not unpickled."""
    array = mapped(cache, shape, np.dtype(np.uint8))
    if array is None:
        return None
    try:
        with cache.open("rb") as file:
            file.seek(array.offset + array.nbytes)
            found = json.load(file)
        counts = {str(mark): int(count) for mark, count in found["counts"].items()}
        if not reading.decided:
            reading = replace(reading, value_range=reading_of(found).value_range, found=True)
        return Decoded(torch.from_numpy(array), reading, counts)
    except (ValueError, OSError, LookupError, TypeError, AttributeError, RecursionError) as error:
        log.warning("%s is damaged and made again: %s", cache, error)
        return None


def _write(cache: Path, shape: tuple[int, ...], files: list[str], reading: Reading) -> None:
    """Decode into a cache. What was found stands behind the pixels: neither is ever there without the other."""
    undecided: dict[int, Extremes] = {}
    counts: Counter[str] = Counter()
    with written(cache, math.prod(shape)) as file, ThreadPoolExecutor(os.cpu_count()) as pool:
        np.lib.format.write_array_header_1_0(file, {"descr": "|u1", "fortran_order": False, "shape": shape})
        start, size = file.tell(), math.prod(shape[1:])
        decode_file = partial(_decode, image_size=shape[2:], reading=reading)
        for row, outcome in enumerate(pool.map(decode_file, files)):
            if isinstance(outcome, Extremes):
                undecided[row] = outcome
                file.seek(size, os.SEEK_CUR)
            else:
                counts.update(outcome.marks)
                file.write(outcome.pixels.tobytes())
        if undecided:
            reading = replace(reading, value_range=_range_of(undecided, files))
        decode_file = partial(_decode, image_size=shape[2:], reading=reading)
        for row, outcome in zip(undecided, pool.map(decode_file, [files[row] for row in undecided]), strict=True):
            assert isinstance(outcome, Picture)
            counts.update(outcome.marks)
            file.seek(start + row * size)
            file.write(outcome.pixels.tobytes())
        file.seek(start + len(files) * size)
        file.write(json.dumps(reading.plain() | {"counts": counts}).encode())


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


def decode(source: Path | BinaryIO, image_size: ImageSize, name: str | Path, reading: Reading = UNSTATED) -> Picture:
    """Return an image as (3, height, width) uint8, cropped about its centre to the sides' ratio and resized.

    Raises UserError, which calls the image by `name`, for what is no image, is damaged or is too large, has several
    frames of which none is chosen, or more than 8 bits and no range.
    """
    picture = _decode(source, image_size, reading if reading.decided else replace(reading, found=True), name)
    assert isinstance(picture, Picture)
    return picture


def _decode(
    source: str | Path | BinaryIO, image_size: ImageSize, reading: Reading, name: str | Path | None = None
) -> Picture | Extremes:
    """Return what `decode` does, or an image's extremes where the reading is still to be decided."""
    called = source if name is None else name
    try:
        with Image.open(source, formats=_formats()) as image:
            return picture_of(image, image_size, reading)
    except UnidentifiedImageError as error:
        raise UserError(
            f"{called} can't be read as an image (no format that Pillow knows): replace or remove it."
        ) from error
    except UnusableError as error:
        raise UserError(f"{called} {error}.") from error
    except MemoryError:
        raise
    except Exception as error:  # Pillow's decoders answer broken bytes with SyntaxError, RuntimeError and many more.
        raise UserError(f"{called} can't be read as an image ({error}): replace or remove it.") from error


def picture_of(image: Image.Image, image_size: ImageSize, reading: Reading) -> Picture | Extremes:
    """Return an opened image as `_decode` does."""
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
