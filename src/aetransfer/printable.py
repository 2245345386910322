"""What reaches a terminal, or a file: names and messages that others wrote, without secrets.

An escape sequence in one could rewrite the screen, and a right-to-left mark could turn a path around. Keys and
passwords belong into the environment, from where wandb and mlflow take them. What is known for one by its name, by
standing in a URL before the @, or as the value of an environment variable with such a name is written as ***.
"""

import os
import re
import shutil
import sys
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rich.console import Console

WIDTH = 200  # characters
WIDE = 120


def is_wide() -> bool:
    """Tell whether a table has room for what one asks about second. In a terminal of 80 columns it has not."""
    return not sys.stdout.isatty() or shutil.get_terminal_size().columns >= WIDE


def console() -> "Console":
    """Return a console as wide as the terminal. A pipe has no width: rich's 80 columns would make tables unreadable."""
    from rich.console import Console

    return Console() if Console().is_terminal else Console(width=WIDTH)


HIDDEN = "***"
NAME = r"(?:password|passwd|passphrase|secret|token|credentials?|authorization|api_?key|(?:access|private|secret)_?key)"
# Words that a config has under such a name as well: class_token=true is no secret.
HARMLESS = r"(?!(?:true|false|null|None|[-+.\deE]+)(?![^\s,}\]&\"']))"
SETTING = re.compile(rf"(?i)(\b[\w.\-/]*{NAME}[\"']?\s*[=:]\s*){HARMLESS}(\"[^\"]*\"|'[^']*'|[^\s,}}\]&\"']+)")
# A path has one of the two slashes left.
IN_URL = re.compile(r"(\b[A-Za-z][\w+.\-]+:/{1,2})[^/\s@]+@")
SECRET_NAME = re.compile(rf"(?i){NAME}$")
# A shorter value would be found in ordinary words.
SHORTEST = 8


def without_secrets(value: Any) -> Any:
    """Return plain data, or a text, with what looks like a secret replaced by ***."""
    known = {text for name, text in os.environ.items() if SECRET_NAME.search(name) and len(text) >= SHORTEST}
    return _hidden(value, sorted(known, key=len, reverse=True))


def _hidden(value: Any, known: list[str]) -> Any:
    match value:
        case str():
            for secret in known:
                value = value.replace(secret, HIDDEN)
            return SETTING.sub(rf"\g<1>{HIDDEN}", IN_URL.sub(rf"\g<1>{HIDDEN}@", value))
        case dict():
            return {
                key: HIDDEN if isinstance(item, str) and item and SECRET_NAME.search(str(key)) else _hidden(item, known)
                for key, item in value.items()
            }
        case list() | tuple():
            return [_hidden(item, known) for item in value]
    return value


def printable(text: str) -> str:
    """Show whatever is neither a letter, a mark nor a blank as its escape: \\x1b, \\u202e."""
    return "".join(
        each if each.isprintable() or each == "\n" else each.encode("unicode_escape").decode() for each in text
    )


def in_utf8(name: str) -> str:
    """Return a file's name as text that can be written anywhere: a byte that is no UTF-8 becomes its escape, \\xe9."""
    return os.fsencode(name).decode("utf-8", "backslashreplace")


def duration(seconds: float) -> str:
    """Write seconds as 4 s, 2.5 min or 1.2 h."""
    if seconds < 59.5:
        return f"{seconds:.2g} s"
    return f"{seconds / 60:.2g} min" if seconds < 3570 else f"{seconds / 3600:.3g} h"
