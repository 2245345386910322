"""Where images come from: a folder or zip of anybody's, or a split of a data set, in batches of bytes."""

import logging
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from aetransfer.config.instantiate import bind
from aetransfer.config.requests import ImagesRequest
from aetransfer.config.schema import Data
from aetransfer.data.batches import Preparation
from aetransfer.data.images import Images
from aetransfer.data.loose import LooseImages
from aetransfer.networks.encoder import Encoder
from aetransfer.runs.trained_on import warn_of_changes

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Batch:
    """images: (n, 1 or 3, S, S) uint8, with n names and labels. unreadable: name and reason of what else was in it."""

    names: list[str]
    labels: list[str]
    images: Tensor
    unreadable: list[tuple[str, str]]


@dataclass(frozen=True)
class Source:
    """count: of all images, the unreadable ones included. prepare: makes of a batch's images what the encoder takes."""

    count: int
    batches: Iterator[Batch]
    prepare: Preparation


def source_of(request: ImagesRequest, encoder: Encoder) -> Source:
    """Open what a fitted request asks for. Raises UserError for a damaged zip, a folder without images, bad data."""
    if request.data is not None:
        return _of_data(request.data, request, encoder)
    assert request.images is not None and request.pad is not None
    size, pad = encoder.image_size - 2 * request.pad, request.pad
    loose = LooseImages(request.images)
    if loose.others:
        kinds = sorted({Path(name).suffix for name in loose.others})
        log.info("%d file(s) are no images by their names and were left out (%s).", len(loose.others), ", ".join(kinds))
    colour = "grey" if encoder.in_channels == 1 else "colour"
    padded = f", padded by {pad} to {encoder.image_size}x{encoder.image_size}" if pad else ""
    log.info("Images are cropped to a square, resized to %dx%d%s, in %s.", size, size, padded, colour)
    return Source(len(loose.images), _of_loose(loose, size, request.batch_size), Preparation(encoder.in_channels, pad))


def _of_loose(loose: LooseImages, size: int, batch_size: int) -> Iterator[Batch]:
    for decoded in loose.decoded(size, batch_size):
        yield Batch(
            [image.name for image in decoded.images],
            [image.label for image in decoded.images],
            torch.from_numpy(decoded.pixels),
            decoded.unreadable,
        )


def _of_data(data: Data, request: ImagesRequest, encoder: Encoder) -> Source:
    warn_of_changes(Path(request.run).expanduser(), data, request.paths, request.allow)
    split: Images = bind(data.reader, "reader", request.allow, later=["split"])(split=request.split)
    width = len(str(len(split)))

    def batches() -> Iterator[Batch]:
        for first in range(0, len(split), request.batch_size):
            rows = range(first, min(first + request.batch_size, len(split)))
            yield Batch(
                [f"{request.split}/{row:0{width}}" for row in rows],
                [split.class_names[split.labels[row]] for row in rows],
                split.images[rows.start : rows.stop],
                [],
            )

    return Source(len(split), batches(), Preparation(encoder.in_channels, data.pad))
