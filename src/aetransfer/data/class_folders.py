"""Which files a folder of images holds, by split and class, and what in it is left out. No image is opened here.

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
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np

from aetransfer.data.image_files import ImageFiles, LeftOut, ending_of, is_passed_over, may_be_image, some
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


@dataclass(frozen=True)
class Listing:
    """What is decoded together. labels: (N,) int64. fingerprint: of each file's name, size and times."""

    files: list[str]  # a Path for each of 60,000 would take a third of the start
    labels: np.ndarray
    fingerprint: str

    @classmethod
    def of(cls, files: ImageFiles, class_names: Sequence[str]) -> "Listing":
        label_of = {name: label for label, name in enumerate(class_names)}
        digest = hashlib.sha256()
        for name, size, *times in zip(files.names, files.sizes, files.modified, files.changed, strict=True):
            digest.update(os.fsencode(f"{name}\0{size}\0{times}\n"))
        labels = np.array([label_of.get(name, 0) for name in files.class_names], np.int64)
        return cls(files.paths, labels, digest.hexdigest()[:16])


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
        self.base, self.left_out = base, LeftOut()
        self.dangling: list[str] = []
        self.nested: Counter[str] = Counter()

    def beside(self, others: Iterable["os.DirEntry[str]"]) -> None:
        for entry in others:
            if not is_passed_over(entry.name):
                self.left_out.beside.append(f"{entry.name}/" if entry.is_dir() else entry.name)

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
                f"{count:,} images lie in folders within a class's folder ({some(self.nested)}) and count as that "
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
            self.left_out.without_class += 1
        else:
            self.left_out.endings[ending_of(entry.name)] += 1

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
                        self.left_out.again += 1
                    else:
                        been.add(place)
                        inner.append((entry.path, prefix + name))
                elif not may_be_image(name):
                    self.left_out.endings[ending_of(name)] += 1
                elif entry.is_file():
                    status = entry.stat()
                    times = status.st_mtime_ns, status.st_ctime_ns
                    files.add(prefix + name, entry.path, class_name, status.st_size, *times)
                elif entry.is_symlink():
                    self.dangling.append(entry.path)
                else:
                    self.left_out.special += 1
            if class_name and at != folder and len(files) > count:
                self.nested[below] += len(files) - count
            waiting += reversed(inner)

    def _pass_over(self, name: str) -> None:
        if name.startswith("."):
            self.left_out.hidden += 1
        else:
            self.left_out.of_systems[name] += 1

    def _check_links(self) -> None:
        if not self.dangling:
            return
        one, count = self.dangling[0], len(self.dangling)
        target = Path(one).readlink()
        raise UserError(
            f"{one} is a link to {target}, which is not there{f' (1 of {count:,} such links)' if count > 1 else ''}: "
            "mount the disk that holds it, or remove the link."
        )

    def _instead(self) -> str:
        phrases = self.left_out.phrases()
        return f" (but {', '.join(phrases)})" if phrases else ""

    def _contents(
        self, class_names: tuple[str, ...], files: dict[FolderSplit, ImageFiles], notes: list[str]
    ) -> FolderContents:
        left_out = tuple(map(printable, self.left_out.phrases()))
        return FolderContents(self.base, class_names, files, left_out, tuple(map(printable, notes)))


def _split_folders(base: Path) -> tuple[dict[FolderSplit, str], list["os.DirEntry[str]"]]:
    """Return the folders that are splits by their names, train first, and what else there is."""
    found: dict[FolderSplit, str] = {}
    others = []
    for entry in _entries(str(base)):
        split = SPLITS.get(entry.name.casefold())
        if split is not None and entry.is_symlink() and not Path(entry.path).exists():
            raise UserError(
                f"{entry.path} is a link to {Path(entry.path).readlink()}, which is not there: mount the disk that "
                "holds it, or remove the link."
            )
        if split is None or not entry.is_dir():
            others.append(entry)
            continue
        if split in found:
            raise UserError(
                f"{base} has {found[split]} and {entry.name}, which both mean the {MEANING[split]} split: keep one."
            )
        found[split] = entry.name
    return {split: found[split] for split in ("train", "val", "test") if split in found}, others


def _entries(folder: str) -> list["os.DirEntry[str]"]:
    return sorted(os.scandir(folder), key=lambda entry: entry.name)


def _place(folder: str | Path) -> tuple[int, int]:
    status = Path(folder).stat()
    return status.st_dev, status.st_ino
