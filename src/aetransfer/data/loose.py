"""Images as they lie about, with labels or without: all that is in a folder and its folders, or in a zip.

One that can't be read is named and left out. A zip is read where it lies: nothing is unpacked to disk, and a member
that would take more memory than an image does is not unpacked at all. `Preprocess` makes of any image what an encoder
takes, in one way for `embed`, `predict` and programs of one's own.
"""

import os
import warnings
import zipfile
from collections import Counter
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from io import BytesIO
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from aetransfer.data.batches import Preparation
from aetransfer.data.decoding import Picture, decode, picture_of
from aetransfer.data.image_files import is_passed_over, may_be_image
from aetransfer.data.pixels import UnusableError
from aetransfer.data.reading import UNSTATED, Reading
from aetransfer.errors import UserError
from aetransfer.printable import in_utf8

# An uncompressed image of as many pixels as Pillow opens, 89 million, in three colours.
MAX_MEMBER_BYTES = 2**28


@dataclass(frozen=True)
class Loose:
    """An image that has not been opened. name: its path below the folder or in the zip, with slashes."""

    name: str
    source: Path | zipfile.ZipInfo

    @property
    def label(self) -> str:
        """The name of the folder that the image lies in, empty at the top."""
        return self.name.rpartition("/")[0].rpartition("/")[2]


@dataclass(frozen=True)
class Decoded:
    """images: those that could be read. pixels: theirs, (n, 3, S, S) uint8. unreadable: name and reason of the rest.
    counts: images by what was done with them.
    """

    images: list[Loose]
    pixels: np.ndarray
    unreadable: list[tuple[str, str]]
    counts: Counter[str]


class LooseImages:
    """What is visible in `path`, a folder or .zip, in the order of its names; or the one image file that it is.

    images: what is an image by its name's ending, or has no ending; others: the names of the rest. Raises UserError for
    a path that is none of these, a damaged zip, or where there is no image.
    """

    def __init__(self, path: Path) -> None:
        is_image = path.is_file() and bool(path.suffix) and may_be_image(path.name)
        self._archive = None if path.is_dir() or is_image else _opened(path)
        if is_image:
            found: Iterable[Loose] = [Loose(in_utf8(path.name), path)]
        else:
            found = _in_folder(path) if self._archive is None else _in_zip(self._archive)
        self.images: list[Loose] = []
        self.others: list[str] = []
        for image in sorted(found, key=lambda image: image.name):
            if may_be_image(image.name.rpartition("/")[2]):
                self.images.append(image)
            else:
                self.others.append(image.name)
        if not self.images:
            raise UserError(f"images={path} holds no image: none of its {len(self.others)} files is one by its name.")

    def decoded(self, image_size: tuple[int, int], batch_size: int, reading: Reading = UNSTATED) -> Iterator[Decoded]:
        """Decode in batches, several images at a time: cropped about the centre and resized to (height, width)."""
        with ThreadPoolExecutor(os.cpu_count()) as pool:
            for first in range(0, len(self.images), batch_size):
                batch = self.images[first : first + batch_size]
                images, pixels, unreadable = [], [np.empty((0, 3, *image_size), np.uint8)], []
                counts: Counter[str] = Counter()
                decode_one = partial(self._decode, image_size, reading)
                for image, outcome in zip(batch, pool.map(decode_one, batch), strict=True):
                    if isinstance(outcome, str):
                        unreadable.append((image.name, outcome))
                    else:
                        images.append(image)
                        pixels.append(outcome.pixels[np.newaxis])
                        counts.update(outcome.marks)
                yield Decoded(images, np.concatenate(pixels), unreadable, counts)

    def _decode(self, image_size: tuple[int, int], reading: Reading, image: Loose) -> Picture | str:
        """Return the picture, or why there is none."""
        try:
            if isinstance(image.source, Path):
                return decode(image.source, image_size, image.name, reading)
            assert self._archive is not None
            return decode(BytesIO(_content(self._archive, image.source)), image_size, image.name, reading)
        except UserError as error:
            return str(error)


def _in_folder(root: Path) -> Iterator[Loose]:
    # A folder may be a link, and a link may lead back to where it is.
    been = {root.resolve()}
    for folder, inner, files in os.walk(root, followlinks=True):
        inner[:] = [name for name in inner if not is_passed_over(name) and Path(folder, name).resolve() not in been]
        been |= {Path(folder, name).resolve() for name in inner}
        for file in files:
            path = Path(folder, file)
            # A link to what is not there can't be read, and that is said.
            if not is_passed_over(file) and (path.is_file() or path.is_symlink()):
                yield Loose(in_utf8(path.relative_to(root).as_posix()), path)


def _opened(path: Path) -> zipfile.ZipFile:
    if not path.is_file():
        raise UserError(f"images={path} does not exist.")
    try:
        return zipfile.ZipFile(path)
    except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError) as error:
        raise UserError(f"images={path} is no folder, no image by its name and no whole .zip ({error}).") from error


def _in_zip(archive: zipfile.ZipFile) -> Iterator[Loose]:
    # Some programs on Windows separate folders by backslashes, which the format does not have.
    for name, member in {info.filename.replace("\\", "/"): info for info in archive.infolist()}.items():
        # Zips have names with ./ in front as well.
        hidden = any(is_passed_over(part) and part.strip(".") for part in name.split("/"))
        if not name.endswith("/") and not hidden:
            yield Loose(name, member)


def _content(archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> bytes:
    if member.file_size > MAX_MEMBER_BYTES:
        raise UserError(
            f"{member.filename} would take {member.file_size / 1e6:,.0f} MB, and an image may take "
            f"{MAX_MEMBER_BYTES / 1e6:,.0f} MB: it is not unpacked."
        )
    try:
        # zipfile gives no more than the directory of the archive says, whatever the data would become.
        return archive.read(member)
    except Exception as error:  # damaged, encrypted, of an unknown compression: zipfile has no common class for them
        raise UserError(f"{member.filename} can't be read from the zip ({error}).") from error


ASSUMED = (
    "This encoder's file does not say how its images were made, and no encoder.json is beside it: no padding is assumed"
)


@dataclass(frozen=True)
class Preprocess:
    """What was done to the images that an encoder was trained on: read, cropped about the centre to the sides' ratio,
    resized, padded, made grey or colour.

    channels, image_size (height, width): what the encoder takes; pad: zero pixels on each side, a part of image_size.
    assumed: nothing says how the training images were made, and these are the defaults.
    """

    channels: int
    image_size: tuple[int, int]
    pad: int
    reading: Reading
    assumed: bool = False

    @property
    def unpadded_size(self) -> tuple[int, int]:
        height, width = self.image_size
        return height - 2 * self.pad, width - 2 * self.pad

    def __call__(self, image: Image.Image | Path | str) -> Tensor:
        """Map an image to (channels, height, width) float32 in [0, 1].

        image: a file, or what PIL.Image.open gave. Of an opened file with several frames the one it stands at, unless
        that is the first, is taken. Raises UserError for what can't be read as the training images were.
        """
        if self.assumed:
            warnings.warn(f"{ASSUMED}.", stacklevel=2)
        if isinstance(image, Image.Image):
            name = getattr(image, "filename", "") or "The image"
            try:
                picture = picture_of(image, self.unpadded_size, self.reading)
            except UnusableError as error:
                raise UserError(f"{name} {error}.") from error
            assert isinstance(picture, Picture), "a stored reading is decided"
        else:
            path = Path(image).expanduser()
            picture = decode(path, self.unpadded_size, path, self.reading)
        return self.batch(torch.from_numpy(picture.pixels[None].copy()))[0]

    def batch(self, pixels: Tensor) -> Tensor:
        """Map (N, 1 or 3, H, W) uint8 without padding to (N, channels, height, width) float32 in [0, 1]."""
        return Preparation(self.channels, self.pad)(pixels).float() / 255
