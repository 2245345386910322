"""Downloads through torchvision, which verifies checksums; without a network the message says what to put where."""

from pathlib import Path
from urllib.error import URLError

from aetransfer.errors import UserError


def fetch(dataset: str, root: Path, needs: str) -> None:
    """Download torchvision's `dataset` under `root`. Raises UserError saying what it `needs` when that fails."""
    # Importing torchvision takes seconds, and most runs find their images on disk.
    from torchvision import datasets

    try:
        root.mkdir(parents=True, exist_ok=True)
        getattr(datasets, dataset)(root, download=True)
    except (RuntimeError, URLError, OSError) as error:
        reason = " ".join(str(error).split()).rstrip(".")
        raise UserError(
            f"No {dataset} under {root}, and downloading it failed ({reason}): put {needs}, point paths.data_dir "
            "(or AETRANSFER_DATA_DIR) to where it is, or use data=digits or data=photo_digits, which are embedded."
        ) from error
