"""What pretrainings drew: reconstruction grids and a VAE's samples, one seed of each kind of pretraining."""

from collections.abc import Sequence

from aetransfer.config.shapes import noun_of, shape_in
from aetransfer.html.picture import Picture, is_picture
from aetransfer.runs.filters import setting
from aetransfer.sweeps.collect import CollectedRun
from aetransfer.sweeps.grouping import group_runs

# 50 kB each, inside one page.
MOST_PICTURES = 12


def captions(noun: str, floats: bool) -> dict[str, str]:
    """Say what a pretraining's pictures show, by their names. noun: what its inputs are. floats: and no pixels."""
    return {
        "reconstructions": "validation images, their reconstructions, and how far each pixel is off (black 0, white "
        f"{'2 standard deviations' if floats else '0.5'})"
        if noun == "images"
        else f"validation {noun} in grey, their reconstructions in colour",
        "prior_samples": "samples from the prior",
    }


def pictures(pretrainings: Sequence[CollectedRun]) -> tuple[list[Picture], int]:
    """Return the pictures of the first seed of each kind of pretraining, and how many more there were."""
    _, groups = group_runs(list(pretrainings))
    found = []
    for group in groups:
        run = group.runs[0]
        metrics = ", ".join(f"{name} {value:.4g}" for name, value in run.tested.items())
        for kind, words in captions(
            noun_of(shape_in(run.stored.config)), bool(setting(run.stored.config, "data.floats"))
        ).items():
            path = run.directory.path / f"{kind}.png"
            if is_picture(path):
                found.append(Picture(path, f"{run.name}: {words}. {metrics}"))
    return found[:MOST_PICTURES], max(len(found) - MOST_PICTURES, 0)
