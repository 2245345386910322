"""What can be said of a command line that uses a finished run, before torch is imported."""

import os
from collections.abc import Sequence
from importlib.util import find_spec
from typing import TypeVar

from omegaconf import DictConfig

from aetransfer.config.compose import checked
from aetransfer.config.instantiate import check_allow, check_allowed, check_node
from aetransfer.config.requests import InputsRequest
from aetransfer.config.shapes import of_shape, with_channels
from aetransfer.errors import UserError
from aetransfer.origin import pip_install
from aetransfer.transfer.exported import FLOATS, Description, check_there_is, read_description

ARRAYS = (".npy", ".npz")

Request = TypeVar("Request", bound=InputsRequest)


def checked_request(config: DictConfig, overrides: list[str], schema: type[Request]) -> Request:
    """Check the config, that the inputs are there, and that the table can be written. Raises UserError."""
    request = checked(config, schema)
    check_allow(request.allow, overrides)
    if request.data is not None:
        check_node(request.data.reader, "reader", request.allow)
    images, out = request.images and request.images.expanduser(), request.out.expanduser()
    inputs = request.inputs and request.inputs.expanduser()
    if images is not None and not images.exists():
        raise UserError(f"images={request.images} does not exist: give a folder, a .zip or an image.")
    if inputs is not None and (inputs.suffix not in ARRAYS or not inputs.is_file()):
        why = "does not exist" if inputs.suffix in ARRAYS else "is no array"
        raise UserError(f"inputs={request.inputs} {why}: give a .npy, or a .npz with one array or one called inputs.")
    if out.suffix == ".parquet" and find_spec("pyarrow") is None:
        raise UserError(f"out={request.out} needs pyarrow: {pip_install('parquet')}, or name a .csv or .npz.")
    if not out.parent.is_dir():
        raise UserError(f"out={request.out} can't be written: there is no folder {out.parent}.")
    if out.is_dir() or not os.access(out.parent, os.W_OK):
        raise UserError(f"out={request.out} can't be written there.")
    return request.model_copy(update={"images": images, "inputs": inputs, "out": out})


def check_size(request: InputsRequest, described: Description) -> None:
    """Raise UserError where inputs can't be had as the encoder takes them, as far as the config says."""
    taken: Sequence[int] = described.architecture["input_shape"]
    if request.data is None:
        if request.images is not None and not (described.takes_images and taken[1] == taken[2]):
            floats = " as floats" if len(taken) == 3 and described.architecture.get(FLOATS) else ""
            raise UserError(
                f"The encoder takes {with_channels(taken)}{floats}, which no image files give: name an array with "
                "inputs=FILE (.npy or .npz), or data=NAME."
            )
        if request.pad is not None and 2 * request.pad >= min(taken[1:]):
            size = "x".join(map(str, taken[1:]))
            raise UserError(f"pad={request.pad} leaves nothing of the {size} pixels that the encoder takes.")
        return
    given = request.data.input_shape
    if given is not None and (len(given) != len(taken) or given[1:] != tuple(taken[1:])):
        raise UserError(
            f"The encoder takes {of_shape(taken)}, but {request.data.name} gives {of_shape(given)}: set data.pad or "
            "data.image_size to fit."
        )


def described_at(path: str, allow: list[str]) -> Description:
    """Return what the encoder at a path is. Raises UserError where there is none, or it may not be built."""
    check_there_is(path)
    described = read_description(path)
    check_allowed(described.architecture["_target_"], "encoder", allow)
    return described
