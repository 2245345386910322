"""One self-contained HTML page: the template beside this file, with figures and pictures inside."""

from base64 import b64encode
from collections.abc import Mapping
from datetime import date

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup, escape

from aetransfer.sweeps.content import SPREAD, Content
from aetransfer.sweeps.words import HOW


def page(content: Content, svgs: Mapping[str, bytes], today: date) -> str:
    """Fill the template. svgs: by file name. Each is an image of its own: ids inside two SVGs of a page would clash."""
    environment = Environment(
        loader=PackageLoader("aetransfer.sweeps", ""), autoescape=True, trim_blocks=True, lstrip_blocks=True,
        undefined=StrictUndefined,
    )  # fmt: skip
    images = {name: f"data:image/svg+xml;base64,{b64encode(svg).decode()}" for name, svg in svgs.items()}
    return environment.get_template("page.html.jinja").render(
        content=content,
        images=images,
        today=today.isoformat(),
        spread=SPREAD,
        how=HOW,
        kind=_kind,
        breakable=_breakable,
    )


def _breakable(key: str) -> Markup:
    """Let a long key break after its dots and underscores, where a phone has no room for it."""
    return Markup(str(escape(key)).replace(".", ".<wbr>").replace("_", "_<wbr>"))


def _kind(cell: str) -> str:
    """Return the CSS class of a verdict, by its first word."""
    word = cell.partition(" ")[0]
    return word if word in ("helps", "hurts") else "open" if word in ("no", "one", "not") else ""
