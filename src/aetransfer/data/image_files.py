"""Which files are images by their names, wherever they lie: in class folders, in any other folder, in a zip."""

import os
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from functools import cache
from typing import NamedTuple

# What a folder of images holds beside them, counted by the reason why it is not used.

SHOWN = 3


@dataclass
class LeftOut:
    """endings: of files that are no images by their names. of_systems: folders by their names. without_class: images
    beside the class folders. again: folders to which a further link leads. special: neither file nor folder. beside:
    names in the root that mean no split.
    """

    endings: Counter[str] = field(default_factory=Counter)
    of_systems: Counter[str] = field(default_factory=Counter)
    hidden: int = 0
    without_class: int = 0
    again: int = 0
    special: int = 0
    beside: list[str] = field(default_factory=list)

    def phrases(self) -> tuple[str, ...]:
        """Return what is left out and why, a phrase a reason."""
        counted = [
            (self.endings.total(), "file that is no image by its name", "files that are no images by their names"),
            (self.of_systems.total(), "file or folder that a system keeps", "files or folders that a system keeps"),
            (self.hidden, "hidden file or folder", "hidden files or folders"),
            (self.without_class, "image in no class's folder", "images in no class's folder"),
            (self.again, "link to a folder that is listed already", "links to folders that are listed already"),
            (self.special, "thing that is no file", "things that are no files"),
            (len(self.beside), "name that means no split", "names that mean no split"),
        ]
        which = [some(self.endings), some(self.of_systems), "", "", "", "", some(self.beside)]
        return tuple(
            f"{count:,} {one if count == 1 else several}{f' ({names})' if names else ''}"
            for (count, one, several), names in zip(counted, which, strict=True)
            if count
        )


def some(names: Iterable[str]) -> str:
    """List the first names, and say how many more there are."""
    known = list(names)
    return ", ".join(known[:SHOWN]) + (f" and {len(known) - SHOWN:,} more" if len(known) > SHOWN else "")


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
