"""Numbers as they are read: as many digits as their spread leaves sense in, the same down a column."""

import math
from collections.abc import Iterable, Sequence
from statistics import median

from aetransfer.sweeps.statistics import Summary

NOTHING = "–"


def decimals(summaries: Sequence[Summary]) -> int:
    """Return the decimals at which the typical standard deviation has two digits; without any, the mean has four."""
    spreads = [summary.sd for summary in summaries if summary.sd]
    if spreads:
        return _decimals(median(spreads), digits=2)
    return max((_decimals(abs(summary.mean), digits=4) for summary in summaries if summary.mean), default=3)


def spread(summary: Summary | None, places: int) -> str:
    """Write mean ± standard deviation, which one value alone does not have."""
    if summary is None:
        return NOTHING
    mean = f"{summary.mean:.{places}f}"
    return mean if summary.sd is None else f"{mean} ± {summary.sd:.{places}f}"


def interval(bounds: tuple[float, float] | None, places: int, signed: bool = False) -> str:
    sign = "+" if signed else ""
    return NOTHING if bounds is None else f"[{bounds[0]:{sign}.{places}f}, {bounds[1]:{sign}.{places}f}]"


def duration(seconds: float) -> str:
    """Write seconds as 4 s, 2.5 min or 1.2 h."""
    if seconds < 60:
        return f"{seconds:.3g} s"
    return f"{seconds / 60:.3g} min" if seconds < 3600 else f"{seconds / 3600:.3g} h"


def ranges(numbers: Iterable[int]) -> str:
    """Write 0, 1, 2, 5 as 0–2, 5."""
    parts: list[list[int]] = []
    for number in sorted(set(numbers)):
        if parts and number == parts[-1][-1] + 1:
            parts[-1].append(number)
        else:
            parts.append([number])
    return ", ".join(str(part[0]) if len(part) == 1 else f"{part[0]}–{part[-1]}" for part in parts)


def _decimals(size: float, digits: int) -> int:
    return min(max(digits - 1 - math.floor(math.log10(size)), 0), 8)
