"""The pictures that a run left in its directory, each with what it shows."""

from collections.abc import Sequence

from aetransfer.config.shapes import noun_of, one_of
from aetransfer.html.picture import Picture, is_picture
from aetransfer.runs.directory import RunDirectory
from aetransfer.sweeps.pictures import captions


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
