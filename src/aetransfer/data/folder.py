"""Anybody's images: DIR/{train,test}/<class>/* in any format Pillow reads, decoded once into a memory-mapped file.

The cache's name holds a fingerprint of every file's path, size and modification time, so a changed folder is decoded
again, and a start that finds its cache does not open a single image.
"""

import functools
import glob
import hashlib
import logging
import math
import os
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import numpy as np
import torch
from PIL import Image, ImageOps, UnidentifiedImageError

from aetransfer.data.images import Images, Split
from aetransfer.data.split import stratified_order
from aetransfer.errors import UserError

log = logging.getLogger(__name__)

# Where a folder has no test split, every fifth image of each class becomes it, the same ones for every seed.
TEST_SHARE = 0.2
# Those of which this process has said so: the final test need not repeat what its training began with.
_said_of: set[Path] = set()


@dataclass(frozen=True)
class _Listing:
    files: list[str]  # a Path for each of 60,000 would take a third of the start
    labels: np.ndarray
    fingerprint: str


def read_folder(root: str | None, split: Split, image_size: int, cache_dir: str) -> Images:
    """Read class folders as (N, 3, image_size, image_size); an image is cropped to a square about its centre first.

    Raises UserError for a missing folder, an empty class, or a file that is not an image (named).
    """
    if root is None:
        raise UserError(
            "data=image_folder needs data.root=DIR, a folder with train/<class>/* and, if any, test/<class>/*."
        )
    base = Path(root).resolve()
    has_test = (base / "test").is_dir()
    class_names = _class_names(base / "train")
    # A test split that doesn't fit is better known now than after the training.
    if has_test and (different := set(_class_names(base / "test")) ^ set(class_names)):
        raise UserError(f"{base}: train and test have different classes ({', '.join(sorted(different))}).")
    # So is an image of it that can't be decoded: whoever reads train has the test images decoded too.
    parts: tuple[Split, ...] = ("train", "test") if split == "train" else ("test",)
    if has_test:
        listings = {part: _list(base / part, class_names) for part in parts}
    else:
        whole = _list(base / "train", class_names)
        listings = {part: _cut(whole, part) for part in parts}
        if split == "train" or base not in _said_of:
            count, of = len(listings["test"].files), len(whole.files)
            log.warning("%s has no test folder: %d of its %d images are set aside as test.", base, count, of)
            _said_of.add(base)
    cache = Path(cache_dir)
    images = {part: _decoded(listing, base / part, image_size, cache) for part, listing in listings.items()}
    return Images(images[split], torch.from_numpy(listings[split].labels), class_names)


def _cut(whole: _Listing, split: Split) -> _Listing:
    parts = []
    for members in stratified_order(torch.from_numpy(whole.labels), seed=0):
        # A class of one image stays in train, where the validation cut refuses it by name.
        n_test = min(max(1, round(TEST_SHARE * len(members))), len(members) - 1)
        parts.append(members[:n_test] if split == "test" else members[n_test:])
    chosen = torch.cat(parts).sort().values.numpy()
    return _Listing([whole.files[row] for row in chosen], whole.labels[chosen], f"{whole.fingerprint}-cut")


def _class_names(folder: Path) -> tuple[str, ...]:
    if not folder.is_dir():
        raise UserError(f"{folder} does not exist: a data set is laid out as {folder}/<class>/<images>.")
    names = tuple(sorted(entry.name for entry in os.scandir(folder) if entry.is_dir() and _visible(entry.name)))
    if not names:
        raise UserError(f"{folder} has no class folders: images are expected in {folder}/<class>/.")
    return names


def _list(folder: Path, class_names: tuple[str, ...]) -> _Listing:
    files, labels, digest = [], [], hashlib.sha256()
    for label, name in enumerate(class_names):
        entries = sorted(_files(folder / name), key=lambda entry: entry.name)
        if not entries:
            raise UserError(f"{folder / name} is empty: remove the folder or put its images there.")
        for entry in entries:
            status = entry.stat()
            digest.update(os.fsencode(f"{name}/{entry.name}\0{status.st_size}\0{status.st_mtime_ns}\n"))
            files.append(entry.path)
            labels.append(label)
    return _Listing(files, np.array(labels, np.int64), digest.hexdigest()[:16])


def _files(folder: Path) -> Iterator[os.DirEntry[str]]:
    return (entry for entry in os.scandir(folder) if entry.is_file() and _visible(entry.name))


def _visible(name: str) -> bool:
    return not name.startswith(".")


def _decoded(listing: _Listing, folder: Path, image_size: int, cache_dir: Path) -> torch.Tensor:
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
