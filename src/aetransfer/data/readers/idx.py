"""MNIST and Fashion-MNIST: four IDX files, raw or gzipped, downloaded and verified by torchvision when absent.

Files of the official sizes are held against their published MD5 sums. Of Fashion-MNIST only the .gz files have one, so
where a .gz lies beside a raw file it is the one that is read, and of a raw file alone header and size are all that is
checked.
"""

import gzip
import hashlib
import math
import struct
import tarfile
import tempfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from http.client import HTTPException
from pathlib import Path

import numpy as np
import torch

from aetransfer.data.contents import IDX_FILES, IDX_PREFIX, find_idx
from aetransfer.data.examples import Examples, Split
from aetransfer.errors import UserError

IMAGES_MAGIC, LABELS_MAGIC = 2051, 2049

# The published MD5 sums of the unpacked MNIST files. A file of MNIST's own size but with another sum is damaged.
MNIST_MD5 = {
    "train-images-idx3-ubyte": "6bbc9ace898e44ae57da46a324031adb",
    "train-labels-idx1-ubyte": "a25bea736e30d166cdddb491f175f624",
    "t10k-images-idx3-ubyte": "2646ac647ad5339dbf082846283269ea",
    "t10k-labels-idx1-ubyte": "27ae3e4e09519cfbb04c329615203637",
}
# Those of the gzipped Fashion-MNIST files as they are downloaded (torchvision.datasets.FashionMNIST.resources).
FASHION_MD5 = {
    "train-images-idx3-ubyte.gz": "8d4fb7e6c68d591d4c3dfef9ec88bf0d",
    "train-labels-idx1-ubyte.gz": "25c81989df183df01b3e8a0aad5dffbe",
    "t10k-images-idx3-ubyte.gz": "bef4ecab320f06d8554ea6380940ec79",
    "t10k-labels-idx1-ubyte.gz": "bb300cfdad3c16e7a12a480ee83cd310",
}
# Forty times MNIST. A gzipped file of a few megabytes may stand for more than fits into memory.
MOST_BYTES = 2_000_000_000
OFFICIAL_COUNT = {"train": 60_000, "test": 10_000}

DIGIT_NAMES = tuple(str(digit) for digit in range(10))
FASHION_NAMES = (
    *("T-shirt/top", "Trouser", "Pullover", "Dress", "Coat"),
    *("Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot"),
)


def read_mnist(root: str, split: Split) -> Examples:
    """Read MNIST from root/MNIST/raw: (60000 or 10000, 1, 28, 28). Raises UserError naming the file at fault."""
    return _read(Path(root), "MNIST", split, DIGIT_NAMES, MNIST_MD5)


def read_fashion_mnist(root: str, split: Split) -> Examples:
    """Read Fashion-MNIST from root/FashionMNIST/raw, in MNIST's format. Raises UserError as `read_mnist`."""
    return _read(Path(root), "FashionMNIST", split, FASHION_NAMES, FASHION_MD5)


def _read(root: Path, dataset: str, split: Split, class_names: tuple[str, ...], digests: dict[str, str]) -> Examples:
    folder = root / dataset / "raw"
    if not any(_find(folder, name, digests) for name in IDX_FILES):
        fetch(dataset, root, folder, needs=f"{IDX_FILES[0]}[.gz] and its three siblings in {folder}")
    missing = [name for name in IDX_FILES if _find(folder, name, digests) is None]
    if missing:
        raise UserError(f"{folder} lacks {', '.join(missing)}: put the file there, raw or as .gz.")

    images = _read_split(folder, dataset, split, class_names, digests)
    if split == "train":
        # What is wrong with the test files is better known now than after the training.
        test = _read_split(folder, dataset, "test", class_names, digests)
        if test.inputs.shape[2:] != images.inputs.shape[2:]:
            sizes = ["x".join(map(str, part.inputs.shape[2:])) for part in (images, test)]
            raise UserError(f"{folder}: the train images are {sizes[0]} and the t10k images {sizes[1]}, mixed up.")
    return images


def _read_split(
    folder: Path, dataset: str, split: Split, class_names: tuple[str, ...], digests: dict[str, str]
) -> Examples:
    prefix = IDX_PREFIX[split]
    images_path, images = _read_file(folder, f"{prefix}-images-idx3-ubyte", IMAGES_MAGIC, ndim=3, digests=digests)
    labels_path, labels = _read_file(folder, f"{prefix}-labels-idx1-ubyte", LABELS_MAGIC, ndim=1, digests=digests)
    if len(images) != len(labels):
        raise UserError(f"{images_path} holds {len(images)} images but {labels_path} {len(labels)} labels: mixed up.")
    if labels.max(initial=0) >= len(class_names):
        raise UserError(f"{labels_path} holds label {labels.max()}, but {dataset} has {len(class_names)} classes.")
    if len(images) == OFFICIAL_COUNT["test" if split == "train" else "train"]:
        raise UserError(f"{images_path} holds {len(images)} images: the train and the t10k files are swapped.")
    return Examples(torch.from_numpy(images).unsqueeze(1), torch.from_numpy(labels).long(), names=class_names)


def _find(folder: Path, name: str, digests: dict[str, str]) -> Path | None:
    # Where both are there, the one whose checksum is known.
    return find_idx(folder, name, gz_first=name not in digests)


def _read_file(folder: Path, name: str, magic: int, ndim: int, digests: dict[str, str]) -> tuple[Path, np.ndarray]:
    """Read one IDX file: a big-endian magic number, `ndim` sizes, then as many bytes as their product."""
    path = _find(folder, name, digests)
    assert path is not None
    header = 4 * (1 + ndim)
    try:
        with gzip.open(path) if path.suffix == ".gz" else path.open("rb") as file:
            start = file.read(header)
            expected = _expected_bytes(path, start, magic, ndim)
            content = start + file.read(expected - header + 1)
    except (OSError, EOFError, zlib.error) as error:
        raise UserError(f"{path} can't be read ({error}): replace it.") from error
    if len(content) != expected:
        has = f"{len(content)} bytes instead of" if len(content) < expected else "more than"
        raise UserError(f"{path} is truncated or damaged: {has} {expected} bytes. Replace it.")
    shape = struct.unpack(f">{ndim}I", start[4:])
    # That of the unpacked file, or of the .gz.
    published = digests.get(name) or digests.get(path.name)
    if published and shape[0] == OFFICIAL_COUNT["train" if name.startswith("train") else "test"]:
        found = hashlib.md5(content if name in digests else path.read_bytes(), usedforsecurity=False).hexdigest()
        if found != published:
            raise UserError(f"{path} is corrupt: MD5 {found} instead of {published}. Replace it.")
    return path, np.frombuffer(bytearray(content), np.uint8, offset=header).reshape(shape)


def _expected_bytes(path: Path, start: bytes, magic: int, ndim: int) -> int:
    """Return how many bytes a file of this header has: what it claims is weighed before any of it is allocated."""
    if len(start) < 4 * (1 + ndim):
        raise UserError(f"{path} is truncated: {len(start)} bytes, less than an IDX header. Replace it.")
    found, *shape = struct.unpack(f">{1 + ndim}I", start)
    if found != magic:
        raise UserError(f"{path} is not what its name says: IDX magic number {found} instead of {magic}. Replace it.")
    expected = len(start) + math.prod(shape)
    if expected > MOST_BYTES:
        raise UserError(f"{path} claims to hold {expected / 1e9:.1f} GB, more than such a set has. Replace it.")
    if shape[0] == 0:
        raise UserError(f"{path} holds nothing: its header says 0. Replace it.")
    return expected


def fetch(dataset: str, root: Path, folder: Path, needs: str) -> None:
    """Download torchvision's `dataset` into its `folder` below `root`, checksums verified, all of it or nothing.

    Raises UserError saying what it `needs` when that fails.
    """
    # Importing torchvision takes seconds, and most runs find their images on disk.
    from torchvision import datasets

    try:
        root.mkdir(parents=True, exist_ok=True)
        # Half a download in its final place would pass for the user's own files, and not be tried again.
        with tempfile.TemporaryDirectory(prefix=".download-", dir=root) as name:
            partial = Path(name)
            with _members_stay_inside():
                getattr(datasets, dataset)(partial, download=True)
            folder.mkdir(parents=True, exist_ok=True)
            for path in (partial / folder.relative_to(root)).iterdir():
                path.replace(folder / path.name)
    except (RuntimeError, OSError, HTTPException, tarfile.TarError) as error:
        reason = " ".join(str(error).split()).rstrip(".")
        raise UserError(
            f"No {dataset} under {root}, and downloading it failed ({reason}): put {needs}, point paths.data_dir "
            "(or AETRANSFER_DATA_DIR) to where it is, or use data=digits or data=photo_digits, which are embedded."
        ) from error


@contextmanager
def _members_stay_inside() -> Iterator[None]:
    """Let no member of an archive be unpacked outside the folder; before Python 3.14 torchvision's call would.

    Python 3.11.3 and before know no filter: there the archive's checksum, which torchvision compares, must do.
    """
    if not hasattr(tarfile, "data_filter"):
        yield
        return
    before = tarfile.TarFile.__dict__.get("extraction_filter")
    tarfile.TarFile.extraction_filter = staticmethod(tarfile.data_filter)
    try:
        yield
    finally:
        tarfile.TarFile.extraction_filter = before
