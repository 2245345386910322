"""What there is to learn of data, and which class of a run each of their classes is. Nothing here imports torch.

A class is told by its name, never by its place among the names.
"""

import difflib
import json
import shlex
import unicodedata
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from aetransfer.errors import UserError

Kind = Literal["none", "classes", "values", "labels"]


@dataclass(frozen=True)
class Targets:
    """kind: classes are one of several, (N,) int64; values are floats in their own units, (N, T); labels are several at
    once, each there or not, (N, T) of 0 and 1; none where there is nothing to learn. names: of the classes, of the T
    values or of the T labels.
    """

    kind: Kind = "none"
    names: tuple[str, ...] = ()

    def __str__(self) -> str:
        if self.kind == "none":
            return "no targets"
        one = {"classes": "class", "values": "value", "labels": "label"}[self.kind]
        return f"{len(self.names):,} {one if len(self.names) == 1 else self.kind}"


MOST_LISTED = 6


def places_of(names: Sequence[str], known: Sequence[str], mapping: Mapping[str, str], data: str) -> list[int]:
    """Return for each class of the data, by its label, which label of the run it is.

    names: the data's classes by label. known: the run's. mapping: what the user says some of the data's are in the run.
    data: the data's name, for sentences. Raises UserError for a class that the run does not know, or a mapping that
    names a class which is not there.
    """
    check_mapped(mapping, known)
    names, known = _composed(names), _composed(known)
    mapping = dict(zip(_composed(mapping), _composed(mapping.values()), strict=True))
    for name in mapping:
        if name not in names:
            raise UserError(f"classes: {data} has no class {name}{near(name, names)}, it has {listed(names)}.")
    called = [mapping.get(name, name) for name in names]
    if unknown := [name for name in called if name not in known]:
        # Letters that are alike would suggest bright for light: only what is the same word is filled in.
        words = {word: name for name in known if (word := _word(name))}
        wanted = {name: words.get(_word(name), "...") for name in unknown[:MOST_LISTED]}
        raise UserError(
            f"The run's classes are {listed(known)}, those of {data} {listed(names)}: choose other data, or say which "
            f"of the run's classes each one is with {as_word(dict(mapping) | wanted)}."
        )
    return [known.index(name) for name in called]


def check_mapped(mapping: Mapping[str, str], known: Sequence[str]) -> None:
    """Raise UserError for a mapping to a class that is none of the run's, `known`."""
    for name in _composed(mapping.values()):
        if name not in _composed(known):
            raise UserError(f"classes: the run has no class {name}{near(name, known)}, it has {listed(known)}.")


def listed(names: Collection[str], what: str = "classes") -> str:
    """Write names one after another, and of many the first ones and how many of `what` there are."""
    shown = ", ".join(list(names)[:MOST_LISTED])
    return shown if len(names) <= MOST_LISTED else f"{shown}, ... ({len(names):,} {what})"


def as_word(mapping: Mapping[str, str]) -> str:
    """Write a mapping as a word of a command line, quoted for a shell."""
    plain = f"{{{', '.join(f'{name}: {other}' for name, other in mapping.items())}}}"
    from aetransfer.config.commands import as_read, quoted  # Hydra, which who loads an encoder need not import

    # Hydra's keys can't be quoted, so names with marks or letters beyond ASCII go as YAML in a quoted text.
    value = plain if as_read(plain) == mapping else quoted(json.dumps(mapping, ensure_ascii=False))
    return shlex.quote(f"classes={value}")


def _composed(names: Iterable[str]) -> list[str]:
    """Return names with each letter and its accent as one: some systems keep files' names with them apart."""
    return [unicodedata.normalize("NFC", name) for name in names]


def _word(name: str) -> str:
    return "".join(letter for letter in name.casefold() if letter.isalnum())


def near(name: str, names: Sequence[str]) -> str:
    """Ask in brackets whether the name that is most like this one is meant; empty where none is like it."""
    found = difflib.get_close_matches(name, names, n=1)
    return f" (did you mean {found[0]})" if found else ""
