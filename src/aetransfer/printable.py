"""Names and messages that others wrote, before they reach a terminal.

An escape sequence in one could rewrite the screen, and a right-to-left mark could turn a path around.
"""

import os


def printable(text: str) -> str:
    """Show whatever is neither a letter, a mark nor a blank as its escape: \\x1b, \\u202e."""
    return "".join(character if _is_shown(character) else _escaped(character) for character in text)


def in_utf8(name: str) -> str:
    """Return a file's name as text that can be written anywhere: a byte that is no UTF-8 becomes its escape, \\xe9."""
    return os.fsencode(name).decode("utf-8", "backslashreplace")


def _is_shown(character: str) -> bool:
    return character.isprintable() or character == "\n"


def _escaped(character: str) -> str:
    return character.encode("unicode_escape").decode()
