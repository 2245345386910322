"""Files that a reader, or a crash, finds as they were or as they shall be and never between."""

import os
from pathlib import Path


def replace_file(path: Path, content: str | bytes) -> None:
    """Write beside the place, flush to the disk and rename into the place."""
    partial = path.with_name(f".{path.name}.{os.getpid()}")
    with partial.open("wb") as file:
        file.write(content.encode() if isinstance(content, str) else content)
        file.flush()
        os.fsync(file.fileno())
    partial.replace(path)
