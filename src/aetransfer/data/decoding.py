"""Image files as arrays of bytes, decoded once into a memory-mapped file of the cache."""

import functools
import glob
import hashlib
import logging
import math
import os
import uuid
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import BinaryIO

import numpy as np
import torch
from PIL import Image, ImageOps, UnidentifiedImageError

from aetransfer.data.class_folders import Listing
from aetransfer.errors import UserError

log = logging.getLogger(__name__)


def decoded(listing: Listing, folder: Path, image_size: int, cache_dir: Path) -> torch.Tensor:
    """Return (N, 3, S, S) uint8, memory-mapped from the cache, which is written first where it is absent or stale."""
    place = hashlib.sha256(os.fsencode(folder)).hexdigest()[:12]
    family = f"{folder.parent.name}-{folder.name}-{place}-{image_size}px-"
    cache = cache_dir / f"{family}{listing.fingerprint}.npy"
    shape = (len(listing.files), 3, image_size, image_size)
    array = _cached(cache, shape)
    if array is None:
        log.info("Decoding %d images of %s into %s", len(listing.files), folder, cache)
        try:
            cache_dir.mkdir(parents=True, exist_ok=True)
            _write(cache, listing.files, image_size)
        except OSError as error:
            raise UserError(
                f"{cache} can't be written ({error.strerror}), it takes {math.prod(shape):,} bytes: make room or let "
                "it be written, or set paths.cache_dir to another folder."
            ) from error
        for stale in cache_dir.glob(f"{glob.escape(family)}*.npy"):
            if stale != cache:
                stale.unlink(missing_ok=True)
        array = _cached(cache, shape)
        assert array is not None, cache
    return torch.from_numpy(array)


def _cached(cache: Path, shape: tuple[int, ...]) -> np.ndarray | None:
    """Map a cache, copy-on-write: torch wants a writable array, and nobody may change the file.

    None for one that is absent, damaged or another's: a pickle in its place is not unpickled.
    """
    if not cache.is_file():
        return None
    try:
        array = np.lib.format.open_memmap(cache, mode="c")
    except (ValueError, OSError, EOFError) as error:
        log.warning("%s is damaged and decoded again: %s", cache, error)
        return None
    if array.dtype != np.uint8 or array.shape != shape or not array.flags.c_contiguous:
        log.warning("%s is not the cache of these images and decoded again.", cache)
        return None
    return array


def _write(cache: Path, files: list[str], image_size: int) -> None:
    """Decode into a file of its own, then rename it: two jobs that start together each leave a whole cache."""
    partial = cache.with_suffix(f".{uuid.uuid4().hex}.partial")
    header = {"descr": "|u1", "fortran_order": False, "shape": (len(files), 3, image_size, image_size)}
    try:
        # Not memory-mapped: a disk that becomes full would end the process with SIGBUS.
        with partial.open("wb") as file, ThreadPoolExecutor(os.cpu_count()) as pool:
            np.lib.format.write_array_header_1_0(file, header)
            for pixels in pool.map(lambda path: _decode(Path(path), image_size), files):
                file.write(pixels.tobytes())
            file.flush()
            os.fsync(file.fileno())
        partial.replace(cache)
    finally:
        partial.unlink(missing_ok=True)


def _decode(path: Path, image_size: int) -> np.ndarray:
    return decode(path, image_size, path)


def decode(source: Path | BinaryIO, image_size: int, name: str | Path) -> np.ndarray:
    """Return an image as (3, image_size, image_size) uint8, cropped to a square about its centre and resized.

    Raises UserError, which calls the image by `name`, for what is no image, is damaged or is too large.
    """
    try:
        with Image.open(source, formats=_formats()) as image:
            # Pillow itself only warns up to twice its limit.
            if Image.MAX_IMAGE_PIXELS and image.width * image.height > Image.MAX_IMAGE_PIXELS:
                raise Image.DecompressionBombError(f"{image.width}x{image.height} pixels")
            colour = _to_8_bits(image).convert("RGB")
        if colour.size != (image_size, image_size):
            colour = ImageOps.fit(colour, (image_size, image_size), Image.Resampling.BICUBIC)
    except UnidentifiedImageError as error:
        raise UserError(
            f"{name} can't be read as an image (no format that Pillow knows): replace or remove it."
        ) from error
    except MemoryError:
        raise
    except Exception as error:  # Pillow's decoders answer broken bytes with SyntaxError, RuntimeError and many more.
        raise UserError(f"{name} can't be read as an image ({error}): replace or remove it.") from error
    return np.asarray(colour).transpose(2, 0, 1)


@functools.cache
def _formats() -> list[str]:
    """Return the formats that Pillow decodes itself. For PostScript it would start another program on the file."""
    Image.init()
    return [name for name in Image.ID if name != "EPS"]


def _to_8_bits(image: Image.Image) -> Image.Image:
    """Scale 16-bit grey, all of which above 255 Pillow's own conversion makes white."""
    if not image.mode.startswith("I"):
        return image
    return Image.fromarray((np.asarray(image) >> 8).clip(0, 255).astype(np.uint8))
