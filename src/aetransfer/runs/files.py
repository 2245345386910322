"""Files that a reader, or a crash, finds as they were or as they shall be and never between."""

import errno
import os
import re
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

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
        _remove(partial)


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


def _remove(partial: Path) -> None:
    try:
        partial.unlink(missing_ok=True)
    except OSError:
        # Its folder can't be written to any more, which has been said.
        return
