"""Which files are images by their names, wherever they lie: in class folders, in any other folder, in a zip."""

import os
from collections.abc import Iterable, Iterator
from functools import cache
from typing import NamedTuple

# What a Mac, or a file server, leaves beside the images: copies of them among it.
OF_SYSTEMS = ("@eaDir", "__MACOSX")


class ImageFile(NamedTuple):
    """name: its path below the root, as it stands on disk, with slashes. class_name: in Unicode's composed form (NFC),
    empty without labels. size: in bytes. modified, changed: when its content was, and when anything of it was, in ns.
    """

    name: str
    path: str
    class_name: str
    size: int
    modified: int
    changed: int


class ImageFiles:
    """Files in the order in which they are read, kept by column.

    60,000 objects would have Python look through all of torch's for garbage, which takes a fifth of a second.
    """

    def __init__(self) -> None:
        self.names: list[str] = []
        self.paths: list[str] = []
        self.class_names: list[str] = []
        self.sizes: list[int] = []
        self.modified: list[int] = []
        self.changed: list[int] = []

    def add(self, name: str, path: str, class_name: str, size: int, modified: int, changed: int) -> None:
        self.names.append(name)
        self.paths.append(path)
        self.class_names.append(class_name)
        self.sizes.append(size)
        self.modified.append(modified)
        self.changed.append(changed)

    def __len__(self) -> int:
        return len(self.names)

    def __iter__(self) -> Iterator[ImageFile]:
        return map(ImageFile, self.names, self.paths, self.class_names, self.sizes, self.modified, self.changed)

    def add_file(self, name: str, path: str) -> None:
        """Add a file without a class. Raises OSError where it is not there."""
        status = os.stat(path)  # noqa: PTH116 (60,000 of pathlib's objects take half a second)
        self.add(name, path, "", status.st_size, status.st_mtime_ns, status.st_ctime_ns)

    @classmethod
    def of(cls, files: Iterable[ImageFile]) -> "ImageFiles":
        made = cls()
        for file in files:
            made.add(*file)
        return made

    def __add__(self, other: "ImageFiles") -> "ImageFiles":
        """Return these files and behind them the others."""
        both = ImageFiles()
        for column, values in vars(both).items():
            values += getattr(self, column) + getattr(other, column)
        return both


def is_passed_over(name: str) -> bool:
    """Tell whether a file or folder is hidden, or one that a system keeps for itself."""
    return name.startswith(".") or name in OF_SYSTEMS


def may_be_image(name: str) -> bool:
    """Tell whether a file is an image by its name's ending, or has no ending and so may be one."""
    ending = ending_of(name)
    return not ending or ending in _endings()


def ending_of(name: str) -> str:
    """Return a name's ending in small letters with its dot, empty where it has none."""
    stem, dot, ending = name.rpartition(".")
    return f".{ending.lower()}" if dot and stem else ""


@cache
def _endings() -> frozenset[str]:
    # A command that opens no image need not wait for it.
    from PIL import Image

    return frozenset(ending for ending, kind in Image.registered_extensions().items() if kind in Image.OPEN)
