"""Which files the program's own readers read. Nothing here imports torch.

Paths are strings: 60,000 of pathlib's take half a second to make.
"""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

IDX_PREFIX = {"train": "train", "test": "t10k"}
IDX_FILES = tuple(f"{prefix}-{kind}-ubyte" for prefix in IDX_PREFIX.values() for kind in ("images-idx3", "labels-idx1"))
CIFAR10, CIFAR100, CIFAR10_CLASS_FOLDERS = "cifar-10-batches-py", "cifar-100-python", "cifar10"


def find_idx(folder: Path, name: str, *, gz_first: bool) -> Path | None:
    """Return an IDX file as it lies there, raw or gzipped. gz_first: which of the two is read where both are there."""
    names = (f"{name}.gz", name) if gz_first else (name, f"{name}.gz")
    return next((folder / each for each in names if (folder / each).is_file()), None)


def files_of(reader: str, root: Path, labels: Any = None) -> dict[str, str] | None:
    """Return the files that one of our readers reads, each by its path below `root`.

    reader: its `_target_`. labels: its key of that name. A .gz is named as what it unpacks to. Empty for images that
    come with a package. None where the files are not there, or not all of them. Raises UserError for a folder that is
    no data set.
    """
    match reader.rpartition(".")[2]:
        case "read_mnist":
            return _idx(root, "MNIST", gz_first=False)
        case "read_fashion_mnist":
            # Of Fashion-MNIST only the .gz files have published checksums.
            return _idx(root, "FashionMNIST", gz_first=True)
        case "read_cifar10" if not (root / CIFAR10).exists() and (root / CIFAR10_CLASS_FOLDERS).is_dir():
            return _image_folder(root / CIFAR10_CLASS_FOLDERS, "classes")
        case "read_cifar10":
            return _batches(root / CIFAR10)
        case "read_cifar100":
            return _batches(root / CIFAR100)
        case "read_folder":
            # Whether there may be no labels, where nothing is said of them, depends on the stage; the files don't.
            return _image_folder(root, labels or "inferred")
    return {}


def files_below(folder: Path) -> Iterator[Path]:
    """Yield every visible file of a folder and of its folders, in the order of their names."""
    for entry in sorted(os.scandir(folder), key=lambda entry: entry.name):
        if entry.name.startswith("."):
            continue
        if entry.is_dir():
            yield from files_below(Path(entry.path))
        elif entry.is_file():
            yield Path(entry.path)


def _idx(root: Path, dataset: str, *, gz_first: bool) -> dict[str, str] | None:
    found = {name: find_idx(root / dataset / "raw", name, gz_first=gz_first) for name in IDX_FILES}
    files = {f"{dataset}/raw/{name}": str(path) for name, path in found.items() if path is not None}
    return files if len(files) == len(IDX_FILES) else None


def _batches(folder: Path) -> dict[str, str] | None:
    if not folder.is_dir():
        return None
    return {f"{folder.name}/{path.name}": str(path) for path in files_below(folder) if path.suffix != ".html"} or None


def _image_folder(root: Path, labels: Any) -> dict[str, str]:
    # It imports NumPy, which a config error need not wait for.
    from aetransfer.data.class_folders import list_folder

    splits = list_folder(root, labels).files.values()
    return {name: path for files in splits for name, path in zip(files.names, files.paths, strict=True)}
