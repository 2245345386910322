"""`.env`, as every command reads it: that of the folder it is run in, or of one above. The environment comes first.

Variables are put into the directories below and into nothing else, because a password may hold a $.
"""

import os
import re
from collections.abc import Sequence
from io import StringIO
from pathlib import Path

from dotenv import dotenv_values, find_dotenv, load_dotenv

from aetransfer.config.nodes import at_home
from aetransfer.errors import UserError

# Where one's own config files are, unless --config-dir says so.
CONFIG_DIR = "AETRANSFER_CONFIG_DIR"
DIRECTORIES = ("AETRANSFER_DATA_DIR", "AETRANSFER_OUTPUT_DIR", "AETRANSFER_CACHE_DIR", CONFIG_DIR)
# $NAME, ${NAME} or ${NAME:-what stands for it where it is not set}.
VARIABLE = re.compile(r"\$(?:(\w+)|\{(\w+)(?::-([^}]*))?\})")


def load_environment() -> None:
    """Set what `.env` says and the environment does not, with $HOME and ${VAR} put into the directories.

    A relative directory of a `.env` is relative to that file. Raises UserError for a file that can't be read, and for a
    directory with a variable that is not set.
    """
    found = find_dotenv(usecwd=True)
    text = _text(Path(found)) if found else ""
    before = set(os.environ)
    load_dotenv(stream=StringIO(text), interpolate=False)
    written = {name for name in dotenv_values(stream=StringIO(text), interpolate=False) if name not in before}
    directories = {name: _whole(name, written) for name in DIRECTORIES if os.environ.get(name)}
    folder = Path(found).parent
    for name, directory in directories.items():
        elsewhere = name in written and folder != Path.cwd()
        os.environ[name] = str(folder / at_home(directory) if elsewhere else at_home(directory))


def check_names(words: Sequence[str]) -> None:
    """Raise UserError where a command line, a directory of the environment or the folder that it is in is no UTF-8.

    A run's files could not name them: some could not be written, others not read again.
    """
    for text in (*words, *(os.environ.get(name, "") for name in DIRECTORIES), str(Path.cwd())):
        # Python has a lone surrogate for each byte that is none.
        raw = text.encode(errors="surrogateescape")
        if raw != text.encode(errors="replace"):
            raise UserError(f"{raw.decode(errors='backslashreplace')} is no UTF-8: rename that file or folder.")


def _text(path: Path) -> str:
    try:
        text = path.read_bytes().decode("utf-8-sig")
    except OSError as error:
        raise UserError(f"{path} can't be read ({error.strerror}).") from error
    except UnicodeDecodeError as error:
        raise UserError(f"{path} is no UTF-8 text ({error.reason} at byte {error.start}): save it as UTF-8.") from error
    if "\0" in text:  # UTF-16 without its mark reads as letters with zeros between them
        raise UserError(f"{path} is no UTF-8 text (it has zero bytes): save it as UTF-8.")
    return text


def _whole(name: str, written: set[str], within: tuple[str, ...] = ()) -> str:
    """Return a variable with those that it names put in. written: those of `.env`, which no shell has put any into."""

    def value(found: re.Match[str]) -> str:
        variable = found[1] or found[2]
        if variable in (*within, name) or not os.environ.get(variable):
            if found[3] is not None:
                return found[3]
            raise UserError(
                f"{(*within, name)[0]} names ${variable}, which is not set: set it, or write the directory."
            )
        if variable in written or variable in DIRECTORIES:
            return _whole(variable, written, (*within, name))
        return os.environ[variable]

    return VARIABLE.sub(value, os.environ[name])
