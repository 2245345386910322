"""The pictures that a run left in its directory, each with what it shows."""

from aetransfer.html.picture import Picture, is_picture
from aetransfer.runs.directory import RunDirectory
from aetransfer.sweeps.pictures import KINDS

# In the order of the page.
CAPTIONS = {
    **KINDS,
    "reconstructions_test": "images of the test split, their reconstructions, and how far each pixel is off",
    "interpolations": "decoded from the straight line between the codes of two validation images",
    "traversals": "one latent moved at a time, the others as a validation image has them",
    "first_layer": "filters of the encoder's first layer when training began, and at the epoch that was kept",
    "mistakes": "the test images that it was surest about and wrong: class, what it was taken for, and how surely",
}


def pictures_of(directory: RunDirectory) -> list[Picture]:
    """Return those that are there, of the run's own: no link is followed."""
    found = [Picture(directory.path / f"{name}.png", words[0].upper() + words[1:]) for name, words in CAPTIONS.items()]
    return [picture for picture in found if is_picture(picture.path)]
