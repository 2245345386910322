"""A sweep's report as one self-contained HTML page: the template beside this file, with figures and pictures inside."""

from collections.abc import Mapping
from datetime import date

from aetransfer.html.picture import data_uri
from aetransfer.html.template import filled
from aetransfer.sweeps.content import Content
from aetransfer.sweeps.words import HOW


def page(content: Content, svgs: Mapping[str, bytes], links: Mapping[str, str], today: date) -> str:
    """Fill the template.

    svgs: by file name. Each is an image of its own: ids inside two SVGs of a page would clash. links: addresses of the
    runs' own pages, by the runs' names.
    """
    return filled(
        "aetransfer.sweeps",
        "page.html.jinja",
        content=content,
        images={name: data_uri(svg, "svg+xml") for name, svg in svgs.items()},
        links=links,
        today=today.isoformat(),
        how=HOW,
    )
