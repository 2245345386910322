"""The files of the UCR and UEA archives of signals: NAME_TRAIN.ts and NAME_TEST.ts, or .tsv, gzipped or not.

A .ts has a header of `@key value` lines, and behind `@data` a line for each signal: its channels between colons, each
with values between commas, and last its class or target. A .tsv has the class first and values between tabs; NaN at the
end of a line means that the signal is shorter.
"""

import gzip
import zlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from aetransfer.data.contents import files_of_timeseries, find_timeseries
from aetransfer.data.examples import Examples, Split
from aetransfer.data.lazy import Cache
from aetransfer.data.meaning import Kind, PartName
from aetransfer.data.parts import Description, Part, examples_of
from aetransfer.data.signals import Fit, Fitting, fitted, ragged
from aetransfer.data.targets import near
from aetransfer.errors import UserError

# A gzipped file of a few megabytes may stand for more than fits into memory.
MOST_BYTES = 4_000_000_000


@dataclass(frozen=True)
class _Read:
    """values: (sum of lengths, C). lengths, targets: (N,). kind: of the targets.
    classes: in their order, where the file says it.
    """

    values: np.ndarray
    lengths: np.ndarray
    targets: np.ndarray | None
    kind: Kind | None
    classes: tuple[str, ...] = ()


def read_timeseries(
    root: str | None,
    split: Split,
    cache_dir: str,
    table: str | None = None,
    length: int | None = None,
    fit: Fit | None = None,
    window: int | None = None,
    stride: int | None = None,
) -> Examples:
    """Read a set of signals as (N, C, L) float32, with classes or one value each.

    root: a folder. table: the set's name. length, fit, window, stride: see `Fitting`. Raises UserError naming the file
    and line that is at fault.
    """
    if root is None or table is None:
        raise UserError(
            "data=timeseries needs data.root=DIR and data.table=NAME, for DIR/NAME_TRAIN.ts and DIR/NAME_TEST.ts."
        )
    fitting, base = Fitting(length, fit, window, stride), Path(root)
    files = files_of_timeseries(base, table)
    paths = {part: find_timeseries(base, table, word) for part, word in (("train", "TRAIN"), ("test", "TEST"))}
    for part, path in paths.items():
        if path is None:
            raise UserError(_missing(base, table, part.upper()))
    cache = Cache.of(base / table, files.fingerprint, fitting, cache_dir)
    read = {part: _read(path) for part, path in paths.items() if path is not None}
    train, test = read["train"], read["test"]
    if train.kind != test.kind or train.values.shape[1] != test.values.shape[1]:
        raise UserError(
            f"{base}: {table}_TRAIN has {train.values.shape[1]} channels and {train.kind or 'no targets'}, "
            f"{table}_TEST {test.values.shape[1]} and {test.kind or 'no targets'}: they are of two sets."
        )
    parts: dict[PartName, Part] = {}
    notes = []
    for name, each in (("train", train), ("test", test)):
        made, owner, said = fitted(ragged(each.values, each.lengths), fitting, str(paths[name]))
        notes += [f"{table}, {name}: {said}"] if said else []
        targets = each.targets if owner is None or each.targets is None else each.targets[owner]
        # A test signal is no training signal, so that their numbers differ.
        groups = None if owner is None else owner + (0 if name == "train" else len(train.lengths))
        parts["train" if name == "train" else "test"] = Part(made, targets, groups)
    described = Description(f"{base}, {table}", train.kind, train.classes, ("target",), "recording", notes)
    return examples_of(parts, split, described, cache)


def _missing(base: Path, table: str, part: str) -> str:
    names = sorted(path.name.rpartition("_")[0] for path in base.glob("*_TRAIN.ts*")) if base.is_dir() else []
    same = [name for name in names if name.casefold() == table.casefold()]
    return (
        f"{base} has no {table}_{part}.ts, .ts.gz, .tsv or .tsv.gz{near(same[0] if same else table, names)}: set "
        "data.root to the folder of the two files, and data.table to what they are called."
    )


def _read(path: Path) -> _Read:
    try:
        with gzip.open(path) if path.suffix == ".gz" else path.open("rb") as file:
            content = file.read(MOST_BYTES + 1)
        if len(content) > MOST_BYTES:
            raise UserError(f"{path} unpacks to more than {MOST_BYTES / 1e9:.0f} GB: save it as .npz for data=arrays.")
        lines = content.decode().splitlines()
    except (OSError, EOFError, zlib.error, UnicodeDecodeError) as error:
        raise UserError(f"{path} can't be read ({error}): replace it.") from error
    return _tsv(path, lines) if ".tsv" in path.name else _ts(path, lines)


def _ts(path: Path, lines: list[str]) -> _Read:
    header: dict[str, list[str]] = {}
    data = None
    for number, line in enumerate(lines):
        word, *values = line.split()[:1000] or [""]
        if word.lower() == "@data":
            data = number + 1
            break
        if word.startswith("@"):
            header[word[1:].lower()] = values
        elif word and not word.startswith(("#", "%")):
            raise UserError(f"{path}, line {number + 1}: {word!r:.40} is no line of a .ts header, which begin with @.")
    if data is None:
        raise UserError(f"{path} is no .ts file: it has no line @data.")
    if _says(header, "timestamps"):
        raise UserError(f"{path} has time stamps, which are not read: save values at even times, as data=arrays reads.")
    of_classes, of_values = _says(header, "classlabel"), _says(header, "targetlabel")
    if of_classes and of_values:
        raise UserError(f"{path} says both @classLabel true and @targetLabel true: keep one.")
    labelled = of_classes or of_values
    channels, signals, lengths, words = 0, [], [], []
    for number, line in enumerate(lines[data:], data + 1):
        if not (line := line.strip()) or line.startswith("#"):
            continue
        fields = line.split(":")
        if labelled:
            words.append(fields.pop().strip())
        channels = channels or len(fields)
        if len(fields) != channels or not fields:
            raise UserError(f"{path}, line {number} has {len(fields)} channels, and the first signal {channels}.")
        rows = [_numbers(field, f"{path}, line {number}") for field in fields]
        if len({len(row) for row in rows}) > 1:
            raise UserError(
                f"{path}, line {number}: its channels have {min(map(len, rows)):,} to {max(map(len, rows)):,} samples: "
                "give all channels of a signal as many."
            )
        signals.append(np.stack(rows, 1))
        lengths.append(len(rows[0]))
    if not signals:
        raise UserError(f"{path} is empty: no signal is behind @data.")
    said = next((header[key] for key in ("dimensions", "dimension") if header.get(key)), [str(channels)])
    if said[0] != str(channels) or (_says(header, "univariate") and channels != 1):
        raise UserError(f"{path}: its header says other channels than the {channels} that its signals have.")
    kind: Kind | None = "classes" if of_classes else "values" if of_values else None
    targets, known = None, list[str]()
    if of_classes:
        targets = np.array(words, str)
        known = header["classlabel"][1:]
        if known and (unknown := sorted(set(words) - set(known))):
            raise UserError(
                f"{path} has the class {unknown[0]!r:.40}, which its @classLabel does not name: correct it."
            )
    elif of_values:
        targets = np.array([_number(word, path, number) for number, word in enumerate(words)])
    return _Read(np.concatenate(signals), np.array(lengths), targets, kind, tuple(known))


def _says(header: dict[str, list[str]], key: str) -> bool:
    return header.get(key, ["false"])[:1] in (["true"], ["True"], ["TRUE"])


def _number(word: str, path: Path, number: int) -> float:
    try:
        return float(word)
    except ValueError as error:
        raise UserError(
            f"{path}: the target of signal {number} (the first is 0) is {word!r:.40}, no number."
        ) from error


def _numbers(field: str, at: str) -> np.ndarray:
    """Read values between commas, (L,) float32. Raises UserError for missing ones and for what is no number."""
    words = field.split(",")
    try:
        values = np.array(words, np.float32)
    except ValueError as error:
        if not any(word.strip() in ("?", "") for word in words):
            raise UserError(f"{at} holds what is no number ({error}): correct it.") from error
        values = np.array(np.nan)
    if np.isnan(values).any():
        raise UserError(f"{at} has missing values (? or NaN): fill them in, or leave that signal out.")
    return values


def _tsv(path: Path, lines: list[str]) -> _Read:
    signals, words = [], []
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        word, *fields = line.rstrip("\n").split("\t")
        while fields and fields[-1].strip().lower() in ("nan", ""):
            fields.pop()
        if not fields:
            raise UserError(f"{path}, line {number} is no class and values between tabs: replace the file.")
        words.append(word.strip())
        signals.append(_numbers(",".join(fields), f"{path}, line {number}")[:, None])
    if not signals:
        raise UserError(f"{path} is empty: it holds no signal.")
    return _Read(np.concatenate(signals), np.array(list(map(len, signals))), np.array(words, str), "classes")
