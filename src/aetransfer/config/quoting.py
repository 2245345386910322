"""Text in Hydra's override grammar, where spaces, parentheses, = and letters beyond ASCII of a path mean something."""

from typing import Any

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Quote, QuotedString
from hydra.errors import HydraException


def as_read(value: str) -> Any:
    """Return what Hydra makes of a value on the command line, None for what it can't read."""
    try:
        return OverridesParser.create().parse_override(f"key={value}").value()
    except (HydraException, ValueError):
        return None


def quoted(text: str) -> str:
    """Write a text as a value that Hydra reads as just that text: in quotes where it needs them."""
    return text if as_read(text) == text else QuotedString(text, Quote.single).with_quotes()
