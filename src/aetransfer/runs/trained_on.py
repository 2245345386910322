"""Which data a run was begun on: `data.json` beside it, and the list of files once for all runs of a store."""

import gzip
import hashlib
import json
from pathlib import Path

from aetransfer.data.fingerprint import Fingerprint
from aetransfer.runs.checkpoints import ContinuationError
from aetransfer.runs.directory import RunDirectory
from aetransfer.runs.files import replace_file

SHOWN = 3


def note_data(directory: RunDirectory, data: Fingerprint) -> None:
    """Write down what a run is begun on. A data set of 60,000 files has a list of a megabyte, so runs share it."""
    content = json.dumps(data.files).encode()
    digest = hashlib.sha256(content).hexdigest()[:16]
    listing = _listing(directory, digest)
    if not listing.exists():
        listing.parent.mkdir(exist_ok=True)
        replace_file(listing, gzip.compress(content, mtime=0))
    noted = {"images": data.images, "files": digest, "contents": data.contents}
    replace_file(directory.data, json.dumps(noted) + "\n")


def check_data(directory: RunDirectory, data: Fingerprint, root: str | None) -> None:
    """Raise ContinuationError, with the names of files, where the data are not what the run was begun on."""
    if not directory.data.is_file():
        return
    noted = json.loads(directory.data.read_text())
    listing = _listing(directory, str(noted["files"]))
    # A run directory that was carried elsewhere comes without the list.
    files = json.loads(gzip.decompress(listing.read_bytes())) if listing.is_file() else data.files
    begun_on = Fingerprint(
        noted["images"], {path: (size, time) for path, (size, time) in files.items()}, noted.get("contents")
    )
    changed = begun_on.changed_in(data)
    if changed:
        what = ", ".join(changed[:SHOWN]) + (f" and {len(changed) - SHOWN:,} more" if len(changed) > SHOWN else "")
        raise ContinuationError(
            f"{directory.path.name} was begun on other data (in {root or 'the package'} {what}): put them "
            f"back, or rerun=true begins {directory.path.name} afresh."
        )


def _listing(directory: RunDirectory, digest: str) -> Path:
    return directory.path.parent / ".data" / f"{Path(digest).name}.json.gz"
