"""Self-contained pages from templates: the frame and the parts beside this file, the rest from whoever asks."""

import os
from base64 import b64encode
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup, escape

from aetransfer.printable import printable
from aetransfer.report.tables import escaped, markdown_of

# Pictures inside a page, as data URIs.

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


def filled(template: str, **values: Any) -> str:
    """Fill a template of this folder. Whatever it is given is text on a page, never markup, and is printable."""
    environment = Environment(
        loader=PackageLoader("aetransfer.report", ""),
        autoescape=template.endswith(".html.jinja"),
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=StrictUndefined,
        finalize=_shown,
    )
    environment.globals.update(kind=_kind, breakable=_breakable)
    environment.filters.update(escaped=escaped, code=_code, markdown=lambda table: "\n".join(markdown_of(table)))
    return environment.get_template(template).render(**values)


def link(page: Path, folder: Path) -> str:
    """Return the relative address of a page, for one that lies in `folder`: both may be moved together."""
    address = quote(os.fsencode(os.path.relpath(page, folder)))
    # Without its leading dot a file's name could be taken for a scheme.
    return address if address.startswith(".") else f"./{address}"


def _shown(value: Any) -> Any:
    return printable(value) if type(value) is str else value


def _breakable(key: str) -> Markup:
    """Let a long key break after its dots and underscores, where a phone has no room for it."""
    return Markup(str(escape(printable(key))).replace(".", ".<wbr>").replace("_", "_<wbr>"))


def _kind(cell: str) -> str:
    """Return the CSS class of a verdict, by its first word. What helps and is worse than scratch is no good news."""
    word = cell.partition(" ")[0]
    if word == "helps" and "; worse" in cell:
        return "open"
    return word if word in ("helps", "hurts") else "open" if word in ("no", "one", "not") else ""


def _code(text: str) -> str:
    fence = "``" if "`" in text else "`"
    return f"{fence}{' '.join(text.splitlines())}{fence}"
