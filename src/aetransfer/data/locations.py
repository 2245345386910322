"""Which files the program's own readers read. Nothing here imports torch."""

import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from aetransfer.data.image_files import ImageFiles, list_folder

IDX_PREFIX = {"train": "train", "test": "t10k"}
IDX_FILES = tuple(f"{prefix}-{kind}-ubyte" for prefix in IDX_PREFIX.values() for kind in ("images-idx3", "labels-idx1"))
TIMESERIES = (".ts", ".ts.gz", ".tsv", ".tsv.gz")
CIFAR10, CIFAR100, CIFAR10_CLASS_FOLDERS = "cifar-10-batches-py", "cifar-100-python", "cifar10"


def find_idx(folder: Path, name: str, *, gz_first: bool) -> Path | None:
    """Return an IDX file as it lies there, raw or gzipped. gz_first: which of the two is read where both are there."""
    names = (f"{name}.gz", name) if gz_first else (name, f"{name}.gz")
    return next((folder / each for each in names if (folder / each).is_file()), None)


def files_of(reader: Mapping[str, Any]) -> ImageFiles | None:
    """Return the files that one of our readers reads, each by its path below its root.

    reader: its node. A .gz is named as what it unpacks to. Empty for data that come with a package. None where the
    files are not there, or not all of them. Raises UserError for a folder that is no data set.
    """
    if "root" in reader and reader["root"] is None:
        return None
    root, labels = Path(str(reader.get("root", ""))), reader.get("labels")
    match str(reader["_target_"]).rpartition(".")[2]:
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
        case "read_arrays":
            return files_of_arrays(root) or None
        case "read_timeseries":
            return files_of_timeseries(root, str(reader.get("table"))) or None
        case "read_image_table":
            return _image_table(root, reader)
    return ImageFiles()


def files_of_arrays(root: Path) -> ImageFiles:
    """Return a file, or the .npy files of a folder; none where it is not there."""
    files = ImageFiles()
    if root.is_file():
        files.add(root.name, str(root))
    for path in sorted(root.glob("*.npy")) if root.is_dir() else ():
        if not path.name.startswith("."):
            files.add(path.name, str(path))
    return files


def files_of_timeseries(root: Path, table: str) -> ImageFiles:
    """Return the training and the test file of a set of UCR or UEA; none where one is not there."""
    files = ImageFiles()
    for part in ("TRAIN", "TEST"):
        path = find_timeseries(root, table, part)
        if path is None:
            return ImageFiles()
        files.add(path.name.removesuffix(".gz"), str(path))
    return files


def find_timeseries(root: Path, table: str, part: str) -> Path | None:
    """Return a file DIR/NAME_TRAIN.ts, DIR/NAME/NAME_TRAIN.ts, or one of the other endings that there are."""
    places = (folder / f"{table}_{part}{ending}" for folder in (root, root / table) for ending in TIMESERIES)
    return next((path for path in places if path.is_file()), None)


def files_below(folder: Path) -> Iterator[Path]:
    """Yield every visible file of a folder and of its folders, in the order of their names."""
    for entry in sorted(os.scandir(folder), key=lambda entry: entry.name):
        if entry.name.startswith("."):
            continue
        if entry.is_dir():
            yield from files_below(Path(entry.path))
        elif entry.is_file():
            yield Path(entry.path)


def _idx(root: Path, dataset: str, *, gz_first: bool) -> ImageFiles | None:
    files = ImageFiles()
    for name in IDX_FILES:
        path = find_idx(root / dataset / "raw", name, gz_first=gz_first)
        if path is None:
            return None
        files.add(f"{dataset}/raw/{name}", str(path))
    return files


def _batches(folder: Path) -> ImageFiles | None:
    files = ImageFiles()
    for path in files_below(folder) if folder.is_dir() else ():
        if path.suffix != ".html":
            files.add(f"{folder.name}/{path.name}", str(path))
    return files if len(files) else None


def _image_folder(root: Path, labels: Any) -> ImageFiles:
    return sum(list_folder(root, labels).files.values(), ImageFiles())


def _image_table(root: Path, reader: Mapping[str, Any]) -> ImageFiles | None:
    table, inputs = reader.get("table"), reader.get("inputs")
    if not isinstance(table, str) or not isinstance(inputs, str) or not (root / table).is_file():
        return None
    # It imports pandas, which a config error need not wait for.
    from aetransfer.data.array_files import listed_in

    files = ImageFiles()
    files.add(table, str(root / table))
    return files + listed_in(root, table, inputs)[1]
