"""What an encoder says of the inputs that it was trained on: in its file's header, or in `encoder.json` beside it."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from aetransfer.data.reading import UNSTATED, Reading, reading_of
from aetransfer.errors import UserError
from aetransfer.files import read_json

CARD = "encoder.json"


@dataclass(frozen=True)
class Preprocessing:
    """pad: zero pixels on each side of an image, which are part of the size that the encoder takes."""

    pad: int = 0
    reading: Reading = UNSTATED

    def plain(self) -> dict[str, Any]:
        return {"pad": self.pad, **self.reading.plain()}


def preprocessing_of(plain: Mapping[str, Any]) -> Preprocessing:
    """Return what `plain` gave. Raises ValueError for what it never gives."""
    pad = plain.get("pad", 0)
    if not isinstance(pad, int) or isinstance(pad, bool) or pad < 0:
        raise ValueError(f"pad is {pad!r}")
    return Preprocessing(pad, reading_of(plain))


def preprocessing_beside(file: Path) -> Preprocessing | None:
    """Return what the card says that belongs to an encoder's file or a run's checkpoint, None where there is no card.

    Raises UserError for one that is damaged.
    """
    folder = file.parent.parent if file.parent.name == "checkpoints" else file.parent
    try:
        return preprocessing_of(read_json(folder / CARD)["input"])
    except FileNotFoundError:
        return None
    except (OSError, ValueError, LookupError, TypeError, AttributeError) as error:
        raise UserError(f"{folder / CARD} is damaged ({type(error).__name__}: {error}): remove it.") from error
