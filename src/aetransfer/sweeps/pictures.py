"""What pretrainings drew: reconstruction grids and a VAE's samples, one seed of each kind of pretraining."""

from base64 import b64encode
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from aetransfer.sweeps.collect import CollectedRun
from aetransfer.sweeps.grouping import group_runs

# 50 kB each, inside one page.
MOST_PICTURES = 12
MOST_BYTES = 4_000_000
PNG = b"\x89PNG\r\n\x1a\n"
KINDS = {
    "reconstructions": "validation images, their reconstructions, and how far each pixel is off (black 0, white 0.5)",
    "prior_samples": "samples from the prior",
}


@dataclass(frozen=True)
class Picture:
    path: Path
    caption: str

    @property
    def data_uri(self) -> str:
        return f"data:image/png;base64,{b64encode(self.path.read_bytes()).decode()}"


def pictures(pretrainings: Sequence[CollectedRun]) -> tuple[list[Picture], int]:
    """Return the pictures of the first seed of each kind of pretraining, and how many more there were."""
    _, groups = group_runs(list(pretrainings))
    found = []
    for group in groups:
        run = group.runs[0]
        metrics = ", ".join(f"{name} {value:.4g}" for name, value in run.tested.items())
        for kind, words in KINDS.items():
            path = run.directory.path / f"{kind}.png"
            if _is_picture(path):
                found.append(Picture(path, f"{run.name}: {words}. {metrics}"))
    return found[:MOST_PICTURES], max(len(found) - MOST_PICTURES, 0)


def _is_picture(path: Path) -> bool:
    """Tell whether it is a PNG of the run's own. A link could bring any file of this machine into the page."""
    if path.is_symlink() or not path.is_file() or path.stat().st_size > MOST_BYTES:
        return False
    with path.open("rb") as file:
        return file.read(len(PNG)) == PNG
