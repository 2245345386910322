"""Downloads through torchvision, which verifies checksums; without a network the message says what to put where."""

import tarfile
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from http.client import HTTPException
from pathlib import Path

from aetransfer.errors import UserError


def fetch(dataset: str, root: Path, folder: Path, needs: str) -> None:
    """Download torchvision's `dataset` into its `folder` below `root`, all of it or nothing.

    Raises UserError saying what it `needs` when that fails.
    """
    # Importing torchvision takes seconds, and most runs find their images on disk.
    from torchvision import datasets

    try:
        root.mkdir(parents=True, exist_ok=True)
        # Half a download in its final place would pass for the user's own files, and not be tried again.
        with tempfile.TemporaryDirectory(prefix=".download-", dir=root) as name:
            partial = Path(name)
            with _members_stay_inside():
                getattr(datasets, dataset)(partial, download=True)
            folder.mkdir(parents=True, exist_ok=True)
            for path in (partial / folder.relative_to(root)).iterdir():
                path.replace(folder / path.name)
    except (RuntimeError, OSError, HTTPException, tarfile.TarError) as error:
        reason = " ".join(str(error).split()).rstrip(".")
        raise UserError(
            f"No {dataset} under {root}, and downloading it failed ({reason}): put {needs}, point paths.data_dir "
            "(or AETRANSFER_DATA_DIR) to where it is, or use data=digits or data=photo_digits, which are embedded."
        ) from error


@contextmanager
def _members_stay_inside() -> Iterator[None]:
    """Let no member of an archive be unpacked outside the folder; before Python 3.14 torchvision's call would.

    Python 3.11.3 and before know no filter: there the archive's checksum, which torchvision compares, must do.
    """
    if not hasattr(tarfile, "data_filter"):
        yield
        return
    before = tarfile.TarFile.__dict__.get("extraction_filter")
    tarfile.TarFile.extraction_filter = staticmethod(tarfile.data_filter)
    try:
        yield
    finally:
        tarfile.TarFile.extraction_filter = before
