"""From an image of anybody's to what an encoder takes: one way, for `embed`, `predict` and programs of one's own."""

import warnings
from dataclasses import dataclass
from pathlib import Path

import torch
from PIL import Image
from torch import Tensor

from aetransfer.data.batches import Preparation
from aetransfer.data.decoding import Picture, decode, picture_of
from aetransfer.data.pixels import UnusableError
from aetransfer.data.reading import Reading
from aetransfer.errors import UserError

ASSUMED = (
    "This encoder's file does not say how its images were made, and no encoder.json is beside it: no padding is assumed"
)


@dataclass(frozen=True)
class Preprocess:
    """What was done to the images that an encoder was trained on: read, cropped about the centre to the sides' ratio,
    resized, padded, made grey or colour.

    channels, image_size (height, width): what the encoder takes; pad: zero pixels on each side, a part of image_size.
    assumed: nothing says how the training images were made, and these are the defaults.
    """

    channels: int
    image_size: tuple[int, int]
    pad: int
    reading: Reading
    assumed: bool = False

    @property
    def unpadded_size(self) -> tuple[int, int]:
        height, width = self.image_size
        return height - 2 * self.pad, width - 2 * self.pad

    def __call__(self, image: Image.Image | Path | str) -> Tensor:
        """Map an image to (channels, height, width) float32 in [0, 1].

        image: a file, or what PIL.Image.open gave. Of an opened file with several frames the one it stands at, unless
        that is the first, is taken. Raises UserError for what can't be read as the training images were.
        """
        if self.assumed:
            warnings.warn(f"{ASSUMED}.", stacklevel=2)
        if isinstance(image, Image.Image):
            name = getattr(image, "filename", "") or "The image"
            try:
                picture = picture_of(image, self.unpadded_size, self.reading)
            except UnusableError as error:
                raise UserError(f"{name} {error}.") from error
            assert isinstance(picture, Picture), "a stored reading is decided"
        else:
            path = Path(image).expanduser()
            picture = decode(path, self.unpadded_size, path, self.reading)
        return self.batch(torch.from_numpy(picture.pixels[None].copy()))[0]

    def batch(self, pixels: Tensor) -> Tensor:
        """Map (N, 1 or 3, H, W) uint8 without padding to (N, channels, height, width) float32 in [0, 1]."""
        return Preparation(self.channels, self.pad)(pixels).float() / 255
