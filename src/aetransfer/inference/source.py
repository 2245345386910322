"""Where inputs come from: images of a folder or zip, an array in a file, or a split of a data set, in batches."""

import logging
import zipfile
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from itertools import compress
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from aetransfer.config.instantiate import bind
from aetransfer.config.requests import InputsRequest
from aetransfer.config.schema import Data
from aetransfer.config.shapes import with_channels
from aetransfer.data.batches import Preparation, as_floats
from aetransfer.data.examples import Examples
from aetransfer.data.loose import ASSUMED, LooseImages, Preprocess
from aetransfer.data.reader import read_split
from aetransfer.data.reading import other_range, remark
from aetransfer.errors import UserError
from aetransfer.networks.encoder import Encoder
from aetransfer.printable import printable
from aetransfer.store.record import warn_of_changes
from aetransfer.transfer.exported import read_description

log = logging.getLogger(__name__)

# What an array of a .npz is called where there are several.
INPUTS = "inputs"


@dataclass(frozen=True)
class Batch:
    """inputs: (n, *shape), of images uint8, with n names. targets: n each, by the column they go to. unreadable: name
    and reason of what else was in it.
    """

    names: list[str]
    targets: dict[str, np.ndarray]
    inputs: Tensor
    unreadable: list[tuple[str, str]]


@dataclass(frozen=True)
class Source:
    """count: of all inputs, the unreadable ones too. prepare: makes of a batch's inputs what the encoder takes."""

    count: int
    batches: Iterator[Batch]
    prepare: Callable[[Tensor], Tensor]


def source_of(request: InputsRequest, encoder: Encoder) -> Source:
    """Open what a checked request asks for. Raises UserError for a damaged zip, a folder without images, bad data.

    encoder: as `load_encoder` gives it.
    """
    if request.data is not None:
        return _of_data(request.data, request, encoder)
    if request.inputs is not None:
        return _of_array(request.inputs, request, encoder)
    assert request.images is not None and isinstance(encoder.preprocess, Preprocess), "the request was checked"
    preprocess = _as_asked(encoder.preprocess, request)
    loose = LooseImages(request.images)
    if loose.others:
        kinds = sorted({Path(name).suffix for name in loose.others})
        log.info("%d file(s) are no images by their names and were left out (%s).", len(loose.others), ", ".join(kinds))
    if preprocess.assumed and request.pad is None:
        log.warning("%s (pad=... says otherwise).", ASSUMED)
    (height, width), pad, (high, wide) = preprocess.unpadded_size, preprocess.pad, preprocess.image_size
    colour = "grey" if preprocess.channels == 1 else "colour"
    to = "to a square" if height == width else f"to {height}:{width}"
    padded = f", padded by {pad} to {high}x{wide}" if pad else ""
    log.info("Images are cropped %s, resized to %dx%d%s, in %s.", to, height, width, padded, colour)
    return Source(len(loose.images), _of_loose(loose, preprocess, request.batch_size), preprocess.batch)


def _as_asked(preprocess: Preprocess, request: InputsRequest) -> Preprocess:
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


def _of_data(data: Data, request: InputsRequest, encoder: Encoder) -> Source:
    warn_of_changes(Path(request.run).expanduser(), data, request.paths, request.allow)
    split = read_split(bind(data.reader, "reader", request.allow), request.split)
    _check(split.inputs, data.pad, encoder, data.name)
    trained = getattr(encoder, "preprocess", None)
    if isinstance(trained, Preprocess) and (said := other_range(split.reading, trained.reading)):
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

    return Source(len(split), batches(), partial(_prepared, Preparation(encoder.input_shape[0], data.pad)))


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


def _of_array(path: Path, request: InputsRequest, encoder: Encoder) -> Source:
    """Open an array (N, *shape). An input with NaN in it, or with an infinite number, is unreadable."""
    array = _array_in(path)
    stored = read_description(request.run).preprocessing
    pad = 0 if stored is None else stored.pad
    if array.dtype.kind not in "iuf":
        raise UserError(f"{path} holds {array.dtype}: give numbers.")
    # Bytes are pixels to an encoder of such, and numbers to any other.
    pixels = encoder.takes_pixels and array.dtype == np.uint8
    _check(torch.empty(1, *array.shape[1:], dtype=torch.uint8 if pixels else None), pad, encoder, str(path))
    width = len(str(len(array)))

    def batches() -> Iterator[Batch]:
        for first in range(0, len(array), request.batch_size):
            part = np.array(array[first : first + request.batch_size])
            names = [f"{row:0{width}}" for row in range(first, first + len(part))]
            if not encoder.takes_pixels:
                part = part.astype(np.float32)
            whole = np.isfinite(part.reshape(len(part), -1)).all(1)
            reason = f"{path} has NaN or an infinite number in row"
            unreadable = [(name, f"{reason} {int(name)}") for name in compress(names, ~whole)]
            yield Batch([*compress(names, whole)], {}, torch.from_numpy(part[whole]), unreadable)

    return Source(len(array), batches(), partial(_prepared, Preparation(encoder.input_shape[0], pad)))


def _array_in(path: Path) -> np.ndarray:
    """Return the array of a .npy, of a .npz its only one or the one called inputs; nothing pickled is loaded."""
    try:
        if path.suffix == ".npy":
            found: np.ndarray = np.load(path, mmap_mode="r", allow_pickle=False)
        else:
            with np.load(path, allow_pickle=False) as arrays:
                name = INPUTS if INPUTS in arrays.files else arrays.files[0]
                if len(arrays.files) > 1 and name != INPUTS:
                    raise UserError(f"{path} has the arrays {', '.join(arrays.files)}: call one of them {INPUTS}.")
                found = arrays[name]
    except (OSError, ValueError, EOFError, IndexError, zipfile.BadZipFile) as error:
        raise UserError(f"{path} can't be read as an array of numbers ({' '.join(str(error).split())}).") from error
    if found.ndim < 2 or not found.size:
        raise UserError(f"{path} has the shape {found.shape}: give (N, *shape), with one input or more.")
    return found


def _prepared(prepare: Preparation, inputs: Tensor) -> Tensor:
    return as_floats(prepare(inputs))


def _check(inputs: Tensor, pad: int, encoder: Encoder, given_by: str) -> None:
    """Raise UserError for inputs (n, *shape) that are no such as an encoder takes, before they are padded."""
    pixels, taken = inputs.dtype == torch.uint8, encoder.input_shape
    channels, *sides = inputs.shape[1:]
    given = (channels, *(side + 2 * pad for side in sides))
    if pixels != encoder.takes_pixels:
        kinds = {True: "pixels of 8 bits (uint8)", False: "floats"}
        raise UserError(f"The encoder takes {kinds[not pixels]}, but {given_by} gives {kinds[pixels]}.")
    converts = pixels and len(given) == len(taken) == 3 and {channels, taken[0]} <= {1, 3}
    if given[1:] != taken[1:] or len(given) != len(taken) or not (converts or channels == taken[0]):
        padded = f", padded by {pad}" if pad else ""
        raise UserError(
            f"The encoder takes {with_channels(taken)}, but {given_by} gives {with_channels(given)}{padded}."
        )
