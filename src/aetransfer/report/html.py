"""Self-contained pages from the templates beside this file, with the pictures that runs drew inside."""

import os
from base64 import b64encode
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup, escape

from aetransfer.printable import printable
from aetransfer.report.grouping import group_runs
from aetransfer.report.tables import escaped, markdown_of
from aetransfer.store.run import StoredRun

# Pictures inside a page, as data URIs.

MOST_BYTES = 4_000_000
PNG = b"\x89PNG\r\n\x1a\n"


@dataclass(frozen=True)
class Picture:
    data_uri: Markup
    caption: str


def picture_at(path: Path, caption: str) -> Picture | None:
    """Return a PNG of the run's own, None for anything else: a link could bring any file of this machine in."""
    if path.is_symlink() or not path.is_file() or path.stat().st_size > MOST_BYTES:
        return None
    content = path.read_bytes()
    return Picture(data_uri(content, "png"), caption) if content.startswith(PNG) else None


def data_uri(content: bytes, kind: str) -> Markup:
    """Return a picture as the address of an image. kind: png or svg+xml."""
    return Markup(f"data:image/{kind};base64,{b64encode(content).decode()}")


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


# What pretrainings drew: reconstruction grids and a VAE's samples, one seed of each kind of pretraining.

# 50 kB each, inside one page.
MOST_PICTURES = 12


def captions(run: StoredRun) -> dict[str, str]:
    """Say what a pretraining's pictures show, by their names."""
    # Floats are no pixels.
    far = "2 standard deviations" if run.settings.get("data.floats") else "0.5"
    return {
        "reconstructions": "validation images, their reconstructions, and how far each pixel is off (black 0, white "
        f"{far})"
        if run.noun == "images"
        else f"validation {run.noun} in grey, their reconstructions in colour",
        "prior_samples": "samples from the prior",
    }


def pictures(pretrainings: Sequence[StoredRun]) -> tuple[list[Picture], int]:
    """Return the pictures of the first seed of each kind of pretraining, and how many more there were."""
    found = []
    for run in (group.runs[0] for group in group_runs(list(pretrainings))[1]):
        metrics = ", ".join(f"{name} {value:.4g}" for name, value in run.tested.items())
        for kind, words in captions(run).items():
            found.append(picture_at(run.path / f"{kind}.png", f"{run.name}: {words}. {metrics}"))
    shown = [picture for picture in found if picture]
    return shown[:MOST_PICTURES], max(len(shown) - MOST_PICTURES, 0)


# The pictures that a run left in its directory, each with what it shows.


def pictures_of(run: StoredRun) -> list[Picture]:
    """Return those that are there, of the run's own, in the order of the page: no link is followed."""
    noun, one = run.noun, run.noun.removesuffix("s")
    shown = {
        **captions(run),
        "reconstructions_test": "images of the test split, their reconstructions, and how far each pixel is off"
        if noun == "images"
        else f"{noun} of the test split in grey, their reconstructions in colour",
        "interpolations": f"decoded from the straight line between the codes of two validation {noun}",
        "traversals": f"one latent moved at a time, the others as a validation {one} has them",
        "first_layer": "filters of the encoder's first layer when training began, and at the epoch that was kept",
        "mistakes": f"the most confident mistakes on test {noun}: true class, predicted class, and its probability",
    }
    found = [picture_at(run.path / f"{name}.png", words[0].upper() + words[1:]) for name, words in shown.items()]
    return [picture for picture in found if picture]
