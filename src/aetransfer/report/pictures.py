"""What pretrainings drew: reconstruction grids and a VAE's samples, one seed of each kind of pretraining."""

from collections.abc import Sequence

from aetransfer.config.shapes import noun_of, one_of, shape_in
from aetransfer.report.collect import CollectedRun
from aetransfer.report.grouping import group_runs
from aetransfer.report.html import Picture, is_picture
from aetransfer.store.directory import RunDirectory
from aetransfer.store.query import setting

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


# The pictures that a run left in its directory, each with what it shows.


def pictures_of(directory: RunDirectory, shape: Sequence[int], floats: bool) -> list[Picture]:
    """Return those that are there, of the run's own, in the order of the page: no link is followed.

    shape: of its inputs. floats: whether they are no pixels.
    """
    noun, one = noun_of(shape), one_of(shape)
    shown = {
        **captions(noun, floats),
        "reconstructions_test": "images of the test split, their reconstructions, and how far each pixel is off"
        if noun == "images"
        else f"{noun} of the test split in grey, their reconstructions in colour",
        "interpolations": f"decoded from the straight line between the codes of two validation {noun}",
        "traversals": f"one latent moved at a time, the others as a validation {one} has them",
        "first_layer": "filters of the encoder's first layer when training began, and at the epoch that was kept",
        "mistakes": f"the test {noun} that it was surest about and wrong: class, what it was taken for, and how surely",
    }
    found = [Picture(directory.path / f"{name}.png", words[0].upper() + words[1:]) for name, words in shown.items()]
    return [picture for picture in found if is_picture(picture.path)]
