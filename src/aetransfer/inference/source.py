"""Where images come from: a folder or zip of anybody's, or a split of a data set, in batches of bytes."""

import logging
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from aetransfer.config.instantiate import bind
from aetransfer.config.requests import ImagesRequest
from aetransfer.config.schema import Data
from aetransfer.data.examples import Examples
from aetransfer.data.loose import LooseImages
from aetransfer.data.preprocess import ASSUMED, Preprocess
from aetransfer.data.reader import read_split
from aetransfer.data.reading import other_range, remark
from aetransfer.networks.encoder import Encoder
from aetransfer.printable import printable
from aetransfer.runs.trained_on import warn_of_changes

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Batch:
    """images: (n, 1 or 3, S, S) uint8, with n names. targets: n each, by the column they go to. unreadable: name and
    reason of what else was in it.
    """

    names: list[str]
    targets: dict[str, np.ndarray]
    images: Tensor
    unreadable: list[tuple[str, str]]


@dataclass(frozen=True)
class Source:
    """count: of all images, the unreadable ones too. preprocess: its `batch` makes of images what the encoder takes."""

    count: int
    batches: Iterator[Batch]
    preprocess: Preprocess


def source_of(request: ImagesRequest, encoder: Encoder) -> Source:
    """Open what a checked request asks for. Raises UserError for a damaged zip, a folder without images, bad data.

    encoder: as `load_encoder` gives it.
    """
    assert isinstance(encoder.preprocess, Preprocess)
    if request.data is not None:
        return _of_data(request.data, request, encoder.preprocess)
    assert request.images is not None
    preprocess = _as_asked(encoder.preprocess, request)
    loose = LooseImages(request.images)
    if loose.others:
        kinds = sorted({Path(name).suffix for name in loose.others})
        log.info("%d file(s) are no images by their names and were left out (%s).", len(loose.others), ", ".join(kinds))
    if preprocess.assumed and request.pad is None:
        log.warning("%s (pad=... says otherwise).", ASSUMED)
    size, pad, whole = preprocess.unpadded_size, preprocess.pad, preprocess.image_size
    colour = "grey" if preprocess.channels == 1 else "colour"
    padded = f", padded by {pad} to {whole}x{whole}" if pad else ""
    log.info("Images are cropped to a square, resized to %dx%d%s, in %s.", size, size, padded, colour)
    return Source(len(loose.images), _of_loose(loose, preprocess, request.batch_size), preprocess)


def _as_asked(preprocess: Preprocess, request: ImagesRequest) -> Preprocess:
    """Return how images are read: as for the run's training, but for what the command says."""
    stated = {key: getattr(request, key) for key in ("background", "value_range", "frame")}
    stated = {key: value for key, value in stated.items() if value is not None}
    reading = replace(preprocess.reading, **stated)
    if request.value_range is not None:
        reading = replace(reading, found=False)
    return replace(preprocess, reading=reading, pad=preprocess.pad if request.pad is None else request.pad)


def _of_loose(loose: LooseImages, preprocess: Preprocess, batch_size: int) -> Iterator[Batch]:
    counts: Counter[str] = Counter()
    read = 0
    classes = {image.label for image in loose.images}
    for decoded in loose.decoded(preprocess.unpadded_size, batch_size, preprocess.reading):
        counts += decoded.counts
        read += len(decoded.images)
        yield Batch(
            [image.name for image in decoded.images],
            {"label": np.array([image.label for image in decoded.images])} if any(classes) else {},
            torch.from_numpy(decoded.pixels),
            decoded.unreadable,
        )
    if said := remark(counts, read, preprocess.reading):
        log.info("%s.", said)


def _of_data(data: Data, request: ImagesRequest, preprocess: Preprocess) -> Source:
    warn_of_changes(Path(request.run).expanduser(), data, request.paths, request.allow)
    split = read_split(bind(data.reader, "reader", request.allow), request.split)
    if said := other_range(split.reading, preprocess.reading):
        log.warning("%s.", said)
    for note in split.notes:
        log.info("%s", printable(note))
    own = set() if split.validation is None else set(split.validation.tolist())
    columns = {} if data.labels == "none" else _columns(split)
    width = len(str(len(split)))

    def batches() -> Iterator[Batch]:
        for first in range(0, len(split), request.batch_size):
            rows = range(first, min(first + request.batch_size, len(split)))
            yield Batch(
                [f"{'val' if row in own else request.split}/{row:0{width}}" for row in rows],
                {name: column[rows.start : rows.stop] for name, column in columns.items()},
                split.inputs[rows.start : rows.stop],
                [],
            )

    return Source(len(split), batches(), replace(preprocess, pad=data.pad))


def _columns(examples: Examples) -> dict[str, np.ndarray]:
    """Return the targets of all examples by column: the class, or each value or label by its name."""
    learnt = examples.learnt
    match learnt.kind:
        case "none":
            return {}
        case "classes":
            return {"label": np.array(learnt.names)[examples.labels.numpy()]}
    targets = examples.labels if learnt.kind == "values" else examples.labels.int()
    return {f"label_{name}": column for name, column in zip(learnt.names, targets.T.numpy(), strict=True)}
