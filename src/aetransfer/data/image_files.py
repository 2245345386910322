"""Which files are images by their names, and which of them a folder holds, by split and class. No image is opened here.

    DIR/train/<class>/*    the images of a class, those in folders below <class> included
    DIR/val/<class>/*      or valid, validation: the data's own validation split, where there is one
    DIR/test/<class>/*     the test split, where there is one

Capitals in the names of these three make no difference. Without labels, a folder that has no train is one heap of
images, flat or nested. Nothing is dropped in silence: it is an image, or it is in `left_out`, or it is refused.
"""

import hashlib
import os
import unicodedata
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Literal

from aetransfer.errors import UserError
from aetransfer.printable import printable

FolderSplit = Literal["train", "val", "test"]
# classes: each image has a class. none: none has. inferred: none has where there is no train folder.
Labels = Literal["classes", "none", "inferred"]

SPLITS: dict[str, FolderSplit] = {
    "train": "train",
    "val": "val",
    "valid": "val",
    "validation": "val",
    "test": "test",
}
MEANING = {"train": "training", "val": "validation", "test": "test"}
# What a Mac, or a file server, leaves beside the images: copies of them among it.
OF_SYSTEMS = ("@eaDir", "__MACOSX")
# Why something is not used: of one, and of several.
REASONS = {
    "ending": ("file that is no image by its name", "files that are no images by their names"),
    "system": ("file or folder that a system keeps", "files or folders that a system keeps"),
    "hidden": ("hidden file or folder", "hidden files or folders"),
    "classless": ("image in no class's folder", "images in no class's folder"),
    "again": ("link to a folder that is listed already", "links to folders that are listed already"),
    "special": ("thing that is no file", "things that are no files"),
    "beside": ("name that means no split", "names that mean no split"),
}
SHOWN = 3


class ImageFiles:
    """Files in the order in which they are read, kept by column.

    names: paths below the root, as they stand on disk, with slashes. class_names: in Unicode's composed form (NFC),
    empty without labels. sizes: in bytes. modified, changed: when a content was, and when anything of a file was, in
    ns. 60,000 objects would have Python look through all of torch's for garbage, which takes a fifth of a second.
    """

    def __init__(self) -> None:
        self.names: list[str] = []
        self.paths: list[str] = []
        self.class_names: list[str] = []
        self.sizes: list[int] = []
        self.modified: list[int] = []
        self.changed: list[int] = []

    def __len__(self) -> int:
        return len(self.names)

    def add(self, name: str, path: str, status: os.stat_result | None = None, class_name: str = "") -> None:
        """Add a file. status: its own, where it is known. Raises OSError where it is not there."""
        status = status or os.stat(path)  # noqa: PTH116 (60,000 of pathlib's objects take half a second)
        self.names.append(name)
        self.paths.append(path)
        self.class_names.append(class_name)
        self.sizes.append(status.st_size)
        self.modified.append(status.st_mtime_ns)
        self.changed.append(status.st_ctime_ns)

    def __add__(self, other: "ImageFiles") -> "ImageFiles":
        """Return these files and behind them the others."""
        both = ImageFiles()
        for column, values in vars(both).items():
            values += getattr(self, column) + getattr(other, column)
        return both

    def at(self, rows: Iterable[int]) -> "ImageFiles":
        """Return the files at these places, in this order."""
        some, rows = ImageFiles(), list(rows)
        for column, values in vars(self).items():
            setattr(some, column, [values[row] for row in rows])
        return some

    @property
    def fingerprint(self) -> str:
        """Digits of each file's name, size and times."""
        digest = hashlib.sha256()
        for name, size, *times in zip(self.names, self.sizes, self.modified, self.changed, strict=True):
            digest.update(os.fsencode(f"{name}\0{size}\0{times}\n"))
        return digest.hexdigest()[:16]


def is_passed_over(name: str) -> bool:
    """Tell whether a file or folder is hidden, or one that a system keeps for itself."""
    return name.startswith(".") or name in OF_SYSTEMS


def may_be_image(name: str) -> bool:
    """Tell whether a file is an image by its name's ending, or has no ending and so may be one."""
    ending = _ending_of(name)
    return not ending or ending in _endings()


def _ending_of(name: str) -> str:
    """Return a name's ending in small letters with its dot, empty where it has none."""
    stem, dot, ending = name.rpartition(".")
    return f".{ending.lower()}" if dot and stem else ""


@cache
def _endings() -> frozenset[str]:
    # A command that opens no image need not wait for it.
    from PIL import Image

    return frozenset(ending for ending, kind in Image.registered_extensions().items() if kind in Image.OPEN)


@dataclass(frozen=True)
class FolderContents:
    """root: without links. class_names: in the order of their labels, () without labels. files: by split, those splits
    that are there, in the order in which they are read. left_out: what is not used and why, a phrase each. notes: what
    else must be known of what is used, a sentence each.
    """

    root: Path
    class_names: tuple[str, ...]
    files: dict[FolderSplit, ImageFiles]
    left_out: tuple[str, ...]
    notes: tuple[str, ...]


def list_folder(root: str | Path, labels: Labels = "classes") -> FolderContents:
    """List a data set's folder.

    Raises UserError for a layout that is none, a class without images, splits of different classes, names that mean the
    same, links to what is not there, and a folder that can't be read.
    """
    base = Path(root).resolve()
    if labels != "classes" and not base.is_dir():
        raise UserError(f"{base} does not exist: name a folder that holds images.")
    try:
        return _listed(base, labels)
    except OSError as error:  # no permission, a disk that is gone, a link to itself
        raise UserError(
            f"{error.filename} can't be read ({error.strerror}): make it readable, or remove it."
        ) from error


def _listed(base: Path, labels: Labels) -> FolderContents:
    listing = _Listing(base)
    folders, others = _split_folders(base) if base.is_dir() else ({}, [])
    if "train" not in folders:
        if labels == "classes":
            raise UserError(
                f"{base / 'train'} does not exist: a data set is laid out as {base / 'train'}/<class>/<images>, and "
                "images without labels can only be pretrained on, with data.labels=none."
            )
        if labels == "inferred" and folders:
            name = next(iter(folders.values()))
            raise UserError(
                f"{base} has a folder {name}, but no train: add that, or data.labels=none takes all images below it."
            )
        return listing.heap(folders.values())
    listing.beside(others)
    return listing.splits(folders, with_classes=labels != "none")


class _Listing:
    """Goes through the folders below `base` and remembers what it does not use."""

    def __init__(self, base: Path) -> None:
        self.base = base
        # By reason, names and how often each was met.
        self.left_out: dict[str, Counter[str]] = {reason: Counter() for reason in REASONS}
        self.dangling: list[str] = []
        self.nested: Counter[str] = Counter()

    def beside(self, others: Iterable["os.DirEntry[str]"]) -> None:
        for entry in others:
            if not is_passed_over(entry.name):
                self.left_out["beside"][f"{entry.name}/" if entry.is_dir() else entry.name] += 1

    def heap(self, splits: Iterable[str]) -> FolderContents:
        """List all images below the base. splits: folders that would be splits beside a train folder."""
        files = ImageFiles()
        self._list(files, str(self.base), "", "", {_place(self.base)})
        self._check_links()
        if not files:
            raise UserError(f"{self.base} holds no image{self._instead()}.")
        among = "".join(f", those in {name} too" for name in splits)
        # A card says this too, and may go where nobody should read where somebody's folders are.
        note = f"{self.base.name} has no train folder: all {len(files):,} images in it are used, without labels{among}."
        return self._contents((), {"train": files}, [note])

    def splits(self, folders: dict[FolderSplit, str], with_classes: bool) -> FolderContents:
        files: dict[FolderSplit, ImageFiles] = {}
        classes: dict[FolderSplit, tuple[str, ...]] = {}
        for split, name in folders.items():
            if with_classes:
                classes[split], files[split] = self._classes(name)
            else:
                files[split] = ImageFiles()
                self._list(files[split], str(self.base / name), name, "", {_place(self.base / name)})
        self._check_links()
        for split, found in classes.items():
            if different := set(found) ^ set(classes["train"]):
                raise UserError(
                    f"{self.base}: {folders['train']} and {folders[split]} have different classes "
                    f"({', '.join(sorted(different))})."
                )
        for split, listed in files.items():
            if not listed:
                raise UserError(f"{self.base / folders[split]} holds no image{self._instead()}.")
        notes = []
        if self.nested:
            count = sum(self.nested.values())
            notes.append(
                f"{count:,} images lie in folders within a class's folder ({_some(self.nested)}) and count as that "
                "class's."
            )
        if not with_classes:
            notes.append(f"{self.base.name} is read without labels.")
        return self._contents(classes.get("train", ()), files, notes)

    def _classes(self, split: str) -> tuple[tuple[str, ...], ImageFiles]:
        """Return the class names of a split's folder and the images, class by class."""
        folder = self.base / split
        found: dict[str, str] = {}
        for entry in _entries(str(folder)):
            if is_passed_over(entry.name):
                self._pass_over(entry.name)
                continue
            if not entry.is_dir():
                self._beside_classes(entry)
                continue
            # Composed or not, an accent is one letter; each file system writes it as it likes.
            name = unicodedata.normalize("NFC", entry.name)
            if name in found:
                raise UserError(f"{folder} has two folders called {name}, which differ in how an accent is written.")
            found[name] = entry.name
        if not found:
            self._check_links()
            raise UserError(
                f"{folder} has no class folders: images are expected in {folder}/<class>/, and data.labels=none takes "
                "those of a pretraining without classes."
            )
        files = ImageFiles()
        for name in sorted(found):
            inside = folder / found[name]
            before, links = len(files), len(self.dangling)
            been = {_place(self.base), _place(folder), _place(inside)}
            self._list(files, str(inside), f"{split}/{found[name]}", name, been)
            if len(files) == before and len(self.dangling) == links:
                raise UserError(f"{inside} is empty of images: remove the folder or put its images there.")
        return tuple(sorted(found)), files

    def _beside_classes(self, entry: "os.DirEntry[str]") -> None:
        if entry.is_symlink() and not entry.is_file():
            self.dangling.append(entry.path)
        elif may_be_image(entry.name):
            self.left_out["classless"][""] += 1
        else:
            self.left_out["ending"][_ending_of(entry.name)] += 1

    def _list(self, files: ImageFiles, folder: str, path: str, class_name: str, been: set[tuple[int, int]]) -> None:
        """Add the images in a folder in the order of their names, and then those in each of its folders.

        path: of the folder, below the root. been: folders that are not entered again, whatever links lead there.
        """
        waiting = [(folder, path)]
        while waiting:
            at, below = waiting.pop()
            prefix = f"{below}/" if below else ""
            inner, count = [], len(files)
            for entry in _entries(at):
                name = entry.name
                if is_passed_over(name):
                    self._pass_over(name)
                elif entry.is_dir():
                    place = _place(entry.path)
                    if place in been:
                        self.left_out["again"][""] += 1
                    else:
                        been.add(place)
                        inner.append((entry.path, prefix + name))
                elif not may_be_image(name):
                    self.left_out["ending"][_ending_of(name)] += 1
                elif entry.is_file():
                    files.add(prefix + name, entry.path, entry.stat(), class_name)
                elif entry.is_symlink():
                    self.dangling.append(entry.path)
                else:
                    self.left_out["special"][""] += 1
            if class_name and at != folder and len(files) > count:
                self.nested[below] += len(files) - count
            waiting += reversed(inner)

    def _pass_over(self, name: str) -> None:
        hidden = name.startswith(".")
        self.left_out["hidden" if hidden else "system"]["" if hidden else name] += 1

    def _check_links(self) -> None:
        if self.dangling:
            raise _not_there(self.dangling[0], len(self.dangling))

    def _phrases(self) -> list[str]:
        """Say what is left out and why, a phrase a reason."""
        phrases = []
        for reason, names in self.left_out.items():
            if count := names.total():
                shown = _some(name for name in names if name)
                phrases.append(f"{count:,} {REASONS[reason][count > 1]}{f' ({shown})' if shown else ''}")
        return phrases

    def _instead(self) -> str:
        phrases = self._phrases()
        return f" (but {', '.join(phrases)})" if phrases else ""

    def _contents(
        self, class_names: tuple[str, ...], files: dict[FolderSplit, ImageFiles], notes: list[str]
    ) -> FolderContents:
        left_out = tuple(map(printable, self._phrases()))
        return FolderContents(self.base, class_names, files, left_out, tuple(map(printable, notes)))


def _split_folders(base: Path) -> tuple[dict[FolderSplit, str], list["os.DirEntry[str]"]]:
    """Return the folders that are splits by their names, train first, and what else there is."""
    found: dict[FolderSplit, str] = {}
    others = []
    for entry in _entries(str(base)):
        split = SPLITS.get(entry.name.casefold())
        if split is not None and entry.is_symlink() and not Path(entry.path).exists():
            raise _not_there(entry.path)
        if split is None or not entry.is_dir():
            others.append(entry)
            continue
        if split in found:
            raise UserError(
                f"{base} has {found[split]} and {entry.name}, which both mean the {MEANING[split]} split: keep one."
            )
        found[split] = entry.name
    return {split: found[split] for split in ("train", "val", "test") if split in found}, others


def _not_there(link: str, count: int = 1) -> UserError:
    among = f" (1 of {count:,} such links)" if count > 1 else ""
    return UserError(
        f"{link} is a link to {Path(link).readlink()}, which is not there{among}: mount the disk that holds it, or "
        "remove the link."
    )


def _entries(folder: str) -> list["os.DirEntry[str]"]:
    return sorted(os.scandir(folder), key=lambda entry: entry.name)


def _place(folder: str | Path) -> tuple[int, int]:
    status = Path(folder).stat()
    return status.st_dev, status.st_ino


def _some(names: Iterable[str]) -> str:
    """List the first names, and say how many more there are."""
    known = list(names)
    return ", ".join(known[:SHOWN]) + (f" and {len(known) - SHOWN:,} more" if len(known) > SHOWN else "")
