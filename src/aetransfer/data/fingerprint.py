"""What a run is trained and tested on, so that it isn't continued on something else.

A checksum of the decoded training split, whatever reads it, and of small data sets another of all that is in their
files, the test split's too, tell that something has changed; sizes and times of the files tell which. A folder that was
copied, with new times, is the same.
"""

import os
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from torch import Tensor

from aetransfer.data.images import Images
from aetransfer.errors import UserError

# A larger data set is looked at in as many evenly spaced images as make up this: reading all would delay the start.
MOST_BYTES = 1 << 30
CHUNK = 4096
# What is in the files is compared where reading them all takes no second more. MNIST's are unpacked 66 MB.
SMALL_BYTES, SMALL_FILES = 1 << 27, 10_000

# Where the project's readers find their files below `root`.
FOLDERS = {
    "read_mnist": ("MNIST/raw",),
    "read_fashion_mnist": ("FashionMNIST/raw",),
    "read_cifar10": ("cifar-10-batches-py", "cifar10"),
    "read_cifar100": ("cifar-100-python",),
    "read_folder": ("train", "test"),
}


@dataclass(frozen=True)
class Fingerprint:
    """images: CRC-32 of the training split's images and labels. files: size in bytes and modification time in ns, by
    path below the root. contents: CRC-32 of what is in the files, None where they are too many or too large.
    """

    images: str
    files: dict[str, tuple[int, int]]
    contents: str | None = None

    def changed_in(self, now: "Fingerprint") -> list[str]:
        """Say which files are no longer what they were, one after another. Empty where the data are the same."""
        before, after = self.files, now.files
        missing = [f"{path} is missing" for path in before if path not in after]
        new = [f"{path} is new" for path in after if path not in before]
        touched = [path for path in before if path in after and before[path] != after[path]]
        resized = [
            f"{path} has {after[path][0]:,} bytes instead of {before[path][0]:,}"
            for path in touched
            if before[path][0] != after[path][0]
        ]
        same_contents = self.contents == now.contents or None in (self.contents, now.contents)
        if missing or new or resized or (self.images == now.images and same_contents):
            return missing + resized + new
        return [f"{path} was changed" for path in touched] or ["the images are others"]


def fingerprint(reader: str, root: str | None, images: Images) -> Fingerprint:
    """Take the fingerprint of what the function named `reader` finds below `root`, and of the split it has read.

    Raises UserError for a file that can't be read.
    """
    files = dict(_files(reader, root))
    return Fingerprint(f"{_checksum(images):08x}", files, _contents(Path(root), files) if root else None)


def _checksum(images: Images) -> int:
    pixels = images.images
    step = max(1, pixels.numel() // MOST_BYTES)
    checksum = zlib.crc32(_bytes(images.labels))
    for first in range(0, len(pixels), CHUNK * step):
        checksum = zlib.crc32(_bytes(pixels[first : first + CHUNK * step : step]), checksum)
    return checksum


def _contents(root: Path, files: dict[str, tuple[int, int]]) -> str | None:
    if not files or len(files) > SMALL_FILES or sum(size for size, _ in files.values()) > SMALL_BYTES:
        return None
    checksum = 0
    for path in files:
        try:
            checksum = zlib.crc32((root / path).read_bytes(), checksum)
        except OSError as error:
            raise UserError(
                f"{root / path} can't be read ({error.strerror}): make it readable, or remove it."
            ) from error
    return f"{checksum:08x}"


def _bytes(values: Tensor) -> memoryview:
    return values.contiguous().numpy().data


def _files(reader: str, root: str | None) -> Iterator[tuple[str, tuple[int, int]]]:
    module, _, name = reader.rpartition(".")
    if root is None or not module.startswith("aetransfer.data."):
        return
    for folder in FOLDERS.get(name, ()):
        yield from _below(Path(root) / folder, folder)


def _below(folder: Path, path: str) -> Iterator[tuple[str, tuple[int, int]]]:
    if not folder.is_dir():
        return
    for entry in sorted(os.scandir(folder), key=lambda entry: entry.name):
        if entry.name.startswith("."):
            continue
        if entry.is_dir():
            yield from _below(Path(entry.path), f"{path}/{entry.name}")
        elif entry.is_file():
            status = entry.stat()
            yield f"{path}/{entry.name}", (status.st_size, status.st_mtime_ns)
