"""Pictures inside a page, as data URIs."""

from base64 import b64encode
from dataclasses import dataclass
from pathlib import Path

from markupsafe import Markup

MOST_BYTES = 4_000_000
PNG = b"\x89PNG\r\n\x1a\n"


@dataclass(frozen=True)
class Picture:
    path: Path
    caption: str

    @property
    def data_uri(self) -> Markup:
        return data_uri(self.path.read_bytes(), "png")


def data_uri(content: bytes, kind: str) -> Markup:
    """Return a picture as the address of an image. kind: png or svg+xml."""
    return Markup(f"data:image/{kind};base64,{b64encode(content).decode()}")


def is_picture(path: Path) -> bool:
    """Tell whether it is a PNG of the run's own. A link could bring any file of this machine into the page."""
    if path.is_symlink() or not path.is_file() or path.stat().st_size > MOST_BYTES:
        return False
    with path.open("rb") as file:
        return file.read(len(PNG)) == PNG
