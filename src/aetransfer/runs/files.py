"""Files that a reader, or a crash, finds as they were or as they shall be and never between."""

import errno
import os
import re
from pathlib import Path

from aetransfer.errors import UserError

PARTIAL = re.compile(r"\..+\.\d+")


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


def replace_file(path: Path, content: str | bytes, keep: Path | None = None, mode: int | None = None) -> None:
    """Write beside the place, flush to the disk and rename into the place. Raises WriteError, and leaves no part.

    keep: where the file that was there goes; for a moment there is then none in its place. mode: its permissions, None
    for what the user's umask makes of them.
    """
    partial = path.with_name(f".{path.name}.{os.getpid()}")
    plain = content.encode() if isinstance(content, str) else content
    try:
        with partial.open("wb") as file:
            file.write(plain)
            file.flush()
            os.fsync(file.fileno())
            if mode is not None:
                os.fchmod(file.fileno(), mode)
        if keep is not None and path.exists():
            path.replace(keep)
        partial.replace(path)
    except OSError as error:
        raise WriteError(path, error, len(plain)) from error
    finally:
        _remove(partial)


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
