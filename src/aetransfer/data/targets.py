"""What there is to learn of data, as a task asks before it is built."""

from dataclasses import dataclass
from typing import Literal

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
