"""Which files a data set has, a checksum of each, and one digest of them all, wherever they lie. Nothing imports torch.

A run is named by this digest beside that of its config, so that no result is returned for other data. Checksums are
stored: names, sizes and times of the files say whether they still hold, so 60,000 images are read once.
"""

import gzip
import hashlib
import json
import logging
import os
import unicodedata
import zlib
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from aetransfer.config.other_names import oldest
from aetransfer.data.image_files import ImageFiles, list_folder
from aetransfer.errors import UserError
from aetransfer.files import replace_file

if TYPE_CHECKING:
    from aetransfer.data.examples import Examples, Split

log = logging.getLogger(__name__)

CHUNK = 1 << 20
# Reading more takes a moment, which is said.
MANY_BYTES = 1 << 28
DIGITS = 16
OURS = "aetransfer.data."
IDX_PREFIX = {"train": "train", "test": "t10k"}
IDX_FILES = tuple(f"{prefix}-{kind}-ubyte" for prefix in IDX_PREFIX.values() for kind in ("images-idx3", "labels-idx1"))
TIMESERIES = (".ts", ".ts.gz", ".tsv", ".tsv.gz")
CIFAR10, CIFAR100, CIFAR10_CLASS_FOLDERS = "cifar-10-batches-py", "cifar-100-python", "cifar10"

Read = Callable[["Split"], "Examples"]

# A command of many jobs looks at its data once; `again` looks once more.
_known: dict[str, "Contents"] = {}
_forms: dict[str, tuple[tuple[int, ...], bool]] = {}


@dataclass(frozen=True)
class Contents:
    """checksums: hexadecimal digits for each file, by its path below the data's root. Empty for embedded images.

    of_files: whether they are of files; else of the splits that somebody's own reader gives.
    """

    checksums: dict[str, str]
    of_files: bool = True

    @property
    def digest(self) -> str | None:
        """Return 8 hexadecimal digits for all files and their names, None where the images come with a package."""
        if not self.checksums:
            return None
        lines = sorted(f"{unicodedata.normalize('NFC', path)}\0{digits}\n" for path, digits in self.checksums.items())
        return hashlib.sha256("".join(lines).encode("utf-8", "surrogateescape")).hexdigest()[:8]

    def changed_in(self, now: "Contents") -> list[str]:
        """Say which files are no longer what they were, one after another. Empty where the data are the same."""
        before, after = self.checksums, now.checksums
        missing = [f"{path} is missing" for path in before if path not in after]
        changed = [f"{path} was changed" for path in before if after.get(path, before[path]) != before[path]]
        return missing + changed + [f"{path} is new" for path in after if path not in before]


def contents_of(
    reader: Mapping[str, Any], read: Read | None, *, data_dir: Path, cache_dir: Path, again: bool = False
) -> Contents | None:
    """Return what a reader's files hold; of somebody's own reader whose keys name no file, what it reads.

    reader: its node. read: calls it for a split; None where that would take too long. data_dir: holds the files of many
    data sets, so a key that names it names no file. cache_dir: where checksums are stored. again: look at files once
    more, though this process has.

    None where the files are not there, or only reading would tell. Raises UserError for a file that can't be read.
    """
    key = json.dumps([dict(reader), str(data_dir), str(cache_dir)], sort_keys=True, default=str)
    if key not in _known or (again and _known[key].of_files):
        found = _look(reader, read, data_dir, cache_dir)
        if found is None:
            return None
        _known[key] = found
    return _known[key]


def form_of(reader: Mapping[str, Any], digest: str | None, read: Read, cache_dir: Path) -> tuple[tuple[int, ...], bool]:
    """Return the shape of one input, and whether inputs are floats, no pixels of 8 bits; it is read once and stored.

    digest: of the data's contents, with which what is stored holds. What a reader of somebody's own gives may change
    with its code, and is read by each command.
    """
    key = json.dumps([dict(reader), digest], sort_keys=True, default=str)
    if key in _forms:
        return _forms[key]
    source = _readers_source() if is_ours(reader) else None
    digits = hashlib.sha256(f"{key}{source}".encode()).hexdigest()[:DIGITS]
    stored = cache_dir / f"form-{digits}.json"
    found = None
    if source is not None:
        with suppress(OSError, ValueError, LookupError, TypeError):
            plain = json.loads(stored.read_bytes())
            found = tuple(int(side) for side in plain["shape"]), bool(plain["floats"])
    if found is None:
        inputs = read("train").inputs
        found = tuple(inputs.shape[1:]), inputs.is_floating_point()
        with suppress(OSError, UserError):
            stored.parent.mkdir(parents=True, exist_ok=True)
            replace_file(stored, json.dumps({"shape": found[0], "floats": found[1]}))
    _forms[key] = found
    return found


def _readers_source() -> str:
    """Return a digest of all that our readers read with."""
    files = sorted(Path(__file__).parent.rglob("*.py"))
    return hashlib.sha256(b"".join(path.read_bytes() for path in files)).hexdigest()[:DIGITS]


def files_of_reader(reader: Mapping[str, Any], data_dir: Path) -> ImageFiles | None:
    """Return the files that a reader reads; None where they are not there. Raises UserError as `files_of`."""
    try:
        if is_ours(reader):
            return files_of(reader)
        return _files_named(reader, data_dir)
    except OSError as error:
        raise _unreadable(str(error.filename), error) from error


def is_ours(reader: Mapping[str, Any]) -> bool:
    return str(reader["_target_"]).startswith(OURS)


def is_place(key: str, value: Any) -> bool:
    """Tell whether a reader's key says where its files lie: by its name, or by a value that looks like a path."""
    if not isinstance(value, str) or key == "_target_":
        return False
    return key in ("root", "cache_dir") or "/" in value or Path(value).suffix != ""


def checksum_of(examples: "Examples", most_bytes: int | None = None) -> str:
    """Return a CRC-32 of inputs and their classes, 8 hexadecimal digits.

    most_bytes: of a larger set so many evenly spaced examples are looked at, as make up this.
    """
    inputs = examples.inputs
    step = 1 if most_bytes is None else max(1, inputs.numel() // most_bytes)
    checksum = zlib.crc32(examples.labels.contiguous().numpy().data)  # int64, or float32 of values and labels
    for first in range(0, len(inputs), 4096 * step):
        checksum = zlib.crc32(inputs[first : first + 4096 * step : step].contiguous().numpy().data, checksum)
    return f"{checksum:08x}"


def _look(reader: Mapping[str, Any], read: Read | None, data_dir: Path, cache_dir: Path) -> Contents | None:
    files = files_of_reader(reader, data_dir)
    if files is None:
        return None
    if len(files):
        return Contents(_checksums(files, _stored_at(reader, cache_dir)) | _written(reader, files))
    if is_ours(reader):
        return Contents({})
    if read is None:
        return None
    train = read("train")
    names = hashlib.sha256("\0".join(train.names).encode()).hexdigest()[:DIGITS]
    checksums = {"train": checksum_of(train), "class_names": names}
    if train.validation is not None:
        checksums["validation"] = hashlib.sha256(train.validation.numpy().tobytes()).hexdigest()[:DIGITS]
    if train.has_test:
        checksums["test"] = checksum_of(read("test"))
    return Contents(checksums, of_files=False)


def _files_named(reader: Mapping[str, Any], data_dir: Path) -> ImageFiles:
    """Return the files that the keys of somebody's own reader name, and those in the folders that they name."""
    files = ImageFiles()
    for key, value in reader.items():
        path = Path(value).expanduser() if isinstance(value, str) and key not in ("_target_", "cache_dir") else None
        if path is None or not path.exists() or path.absolute() in (data_dir.absolute(), *data_dir.absolute().parents):
            continue
        if path.is_dir():
            for file in files_below(path):
                files.add(f"{key}/{file.relative_to(path).as_posix()}", str(file))
        elif path.is_file():
            files.add(key, str(path))
    return files


def _written(reader: Mapping[str, Any], files: ImageFiles) -> dict[str, str]:
    """Return digests of an own reader's paths of which nothing is known but how they are written: they are settings."""
    named = {name.partition("/")[0] for name in files.names}
    return {
        key: hashlib.sha256(value.encode()).hexdigest()[:DIGITS]
        for key, value in reader.items()
        if not is_ours(reader) and key != "cache_dir" and key not in named
        if is_place(key, value) and not Path(value).expanduser().is_dir()
    }


def _checksums(files: ImageFiles, stored_at: Path) -> dict[str, str]:
    """Return the checksums of files; those that were touched since they were stored are read, and all stored anew."""
    stamps = [files.names, files.sizes, files.modified, files.changed]
    known: dict[Any, Any] = {}
    # By column: an object for each of 60,000 files takes Python a fifth of a second. What can't be read is not known.
    with suppress(OSError, ValueError, TypeError):
        *stored, digests = json.loads(stored_at.read_bytes())
        if stored == stamps:
            return dict(zip(files.names, digests, strict=True))
        known = dict(zip(zip(*stored, strict=True), digests, strict=True))
    found = [known.get(key) for key in zip(*stamps, strict=True)]
    unknown = [row for row, digits in enumerate(found) if digits is None]
    if (total := sum(files.sizes[row] for row in unknown)) > MANY_BYTES:
        log.info("Reading %d files (%.1f GB) once, for their checksums.", len(unknown), total / 1e9)
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        for row, digits in zip(unknown, pool.map(_checksum, [files.paths[row] for row in unknown]), strict=True):
            found[row] = digits
    checksums = [str(digits) for digits in found]
    # Where nothing can be written, the next start reads the files again.
    with suppress(OSError, UserError):
        stored_at.parent.mkdir(parents=True, exist_ok=True)
        replace_file(stored_at, json.dumps([*stamps, checksums]))
    return dict(zip(files.names, checksums, strict=True))


def _checksum(path: str) -> str:
    """Return the checksum of a file's content; of a .gz of what it unpacks to, for that is what is read."""
    digest = hashlib.sha256()
    try:
        with gzip.open(path) if path.endswith(".gz") else Path(path).open("rb") as file:
            while chunk := file.read(CHUNK):
                digest.update(chunk)
    except (OSError, EOFError, zlib.error) as error:
        raise _unreadable(path, error) from error
    return digest.hexdigest()[:DIGITS]


def _unreadable(path: str, error: Exception) -> UserError:
    reason = getattr(error, "strerror", None) or error
    return UserError(f"{path} can't be read ({reason}): make it readable, replace it, or remove it.")


def _stored_at(reader: Mapping[str, Any], cache_dir: Path) -> Path:
    places = {key: str(Path(value).absolute()) for key, value in reader.items() if is_place(key, value)}
    text = json.dumps([oldest(str(reader["_target_"])), places], sort_keys=True)
    return cache_dir / f"checksums-{hashlib.sha256(text.encode()).hexdigest()[:12]}.json"


# Which files our own readers read.


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
            return sum(list_folder(root / CIFAR10_CLASS_FOLDERS).files.values(), ImageFiles())
        case "read_cifar10":
            return _batches(root / CIFAR10)
        case "read_cifar100":
            return _batches(root / CIFAR100)
        case "read_folder":
            # Whether there may be no labels, where nothing is said of them, depends on the stage; the files don't.
            return sum(list_folder(root, labels or "inferred").files.values(), ImageFiles())
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


def _image_table(root: Path, reader: Mapping[str, Any]) -> ImageFiles | None:
    table, inputs = reader.get("table"), reader.get("inputs")
    if not isinstance(table, str) or not isinstance(inputs, str) or not (root / table).is_file():
        return None
    # It imports pandas, which a config error need not wait for.
    from aetransfer.data.array_files import listed_in

    files = ImageFiles()
    files.add(table, str(root / table))
    return files + listed_in(root, table, inputs)[1]
