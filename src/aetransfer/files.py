"""Files that a reader, or a crash, finds as they were or as they shall be and never between; and safe reading."""

import errno
import json
import os
import re
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import yaml

from aetransfer.errors import UserError

PARTIAL = re.compile(r"\..+\.[0-9a-f]{12}")


class WriteError(UserError):
    """A file that could not be written; what was at its place is there as before."""

    def __init__(self, path: Path, error: OSError, size: int) -> None:
        what = f"{path} can't be written ({error.strerror or error})"
        if error.errno in (errno.EACCES, errno.EPERM):
            super().__init__(f"{what}: ask {_owner(path)} for it, or choose another paths.output_dir.")
            return
        super().__init__(
            f"{what}, it takes {size:,} bytes: make room or let it be written, and the same command goes on where it "
            "stopped."
        )


@contextmanager
def replacing(path: Path, keep: Path | None = None) -> Iterator[Path]:
    """Yield a place beside `path` to write to; what was written is flushed to the disk and renamed into the place.

    keep: where the file that was there goes; for a moment there is then none in its place. Where writing fails, no part
    is left.
    """
    # A process's number would not do: containers that share a disk have processes of the same number.
    partial = path.with_name(f".{path.name}.{uuid.uuid4().hex[:12]}")
    try:
        yield partial
        with partial.open("rb+") as file:
            os.fsync(file.fileno())
        if keep is not None and path.exists():
            path.replace(keep)
        partial.replace(path)
    finally:
        # A folder that can't be written to any more has been said.
        with suppress(OSError):
            partial.unlink(missing_ok=True)


def replace_file(path: Path, content: str | bytes, keep: Path | None = None, mode: int | None = None) -> None:
    """Write `content` as `replacing` does. Raises WriteError, after which what was there is there.

    mode: the file's permissions, None for what the user's umask makes of them.
    """
    plain = content.encode() if isinstance(content, str) else content
    try:
        with replacing(path, keep) as partial:
            partial.write_bytes(plain)
            if mode is not None:
                partial.chmod(mode)
    except OSError as error:
        raise WriteError(path, error, len(plain)) from error


def remove_partial_files(directory: Path) -> None:
    """Remove what processes left that were killed while they wrote. Whoever calls this must hold the run."""
    for path in directory.rglob(".*"):
        if PARTIAL.fullmatch(path.name) and path.is_file():
            path.unlink(missing_ok=True)


def _owner(path: Path) -> str:
    """Name the user whose folder or file it is, by number where the machine knows no name."""
    there = next(each for each in (path, *path.parents) if each.exists())
    try:
        return there.owner()
    except KeyError:
        return f"user {there.stat().st_uid}"


# What anybody may have written is read as plain data of a size that a run really has, or refused by a ValueError: a
# short file can stand for more than fits into memory, by aliases of aliases, or by nesting that overflows the stack.

# libyaml reads 500 configs in a second, Python alone in ten.
LOADER: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
MOST_BYTES = 32_000_000
DEEPEST = 50


def read_bytes(path: Path, most: int = MOST_BYTES) -> bytes:
    """Return a regular file's content. Raises OSError, and ValueError for more than `most` bytes."""
    if path.exists() and not path.is_file():
        raise ValueError("it is no file")
    with path.open("rb") as file:
        content = file.read(most + 1)
    if len(content) > most:
        raise ValueError(f"it is larger than {most / 1e6:g} MB")
    return content


def last_lines(path: Path, count: int, most: int = 64_000) -> list[str]:
    """Return the last lines of a regular file, however large; none where there is no file, or a link to one."""
    if path.is_symlink() or not path.is_file():
        return []
    with path.open("rb") as file:
        file.seek(max(0, path.stat().st_size - most))
        return file.read(most).decode(errors="replace").splitlines()[-count:]


def read_json(path: Path) -> Any:
    """Return a JSON file's content. Raises OSError, and ValueError for what is no JSON."""
    try:
        return json.loads(read_bytes(path))
    except RecursionError as error:
        raise ValueError("it is nested too deeply") from error


def read_yaml(path: Path) -> Any:
    """Return a YAML file's content; no tag makes an object. Raises OSError, and ValueError for what is no YAML."""
    content = read_bytes(path)
    try:
        _check_shape(content)
        return yaml.load(content, LOADER)
    except yaml.MarkedYAMLError as error:
        place = f" in line {error.problem_mark.line + 1}" if error.problem_mark else ""
        raise ValueError(f"{error.problem}{place}") from error
    except yaml.YAMLError as error:
        raise ValueError(str(error)) from error


def _check_shape(content: bytes) -> None:
    depth = 0
    for event in yaml.parse(content, LOADER):
        depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
        if depth > DEEPEST:
            raise ValueError("it is nested too deeply")
        if isinstance(event, yaml.AliasEvent):
            raise ValueError(f"it has an alias (*{event.anchor}), which no run's config has")
