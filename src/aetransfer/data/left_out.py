"""What a folder of images holds beside them, counted by the reason why it is not used."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field

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
