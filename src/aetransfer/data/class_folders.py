"""Which images a class folder DIR/<class>/* holds, and how one that has changed is told from one that has not."""

import hashlib
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from aetransfer.errors import UserError


@dataclass(frozen=True)
class Listing:
    files: list[str]  # a Path for each of 60,000 would take a third of the start
    labels: np.ndarray
    fingerprint: str


def class_names_in(folder: Path) -> tuple[str, ...]:
    if not folder.is_dir():
        raise UserError(f"{folder} does not exist: a data set is laid out as {folder}/<class>/<images>.")
    names = tuple(sorted(entry.name for entry in os.scandir(folder) if entry.is_dir() and _visible(entry.name)))
    if not names:
        raise UserError(f"{folder} has no class folders: images are expected in {folder}/<class>/.")
    return names


def list_images(folder: Path, class_names: tuple[str, ...]) -> Listing:
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
    return Listing(files, np.array(labels, np.int64), digest.hexdigest()[:16])


def _files(folder: Path) -> Iterator[os.DirEntry[str]]:
    return (entry for entry in os.scandir(folder) if entry.is_file() and _visible(entry.name))


def _visible(name: str) -> bool:
    return not name.startswith(".")
