"""What can be said of a command line that uses a finished run, before torch is imported."""

import os
from collections.abc import Sequence
from importlib.util import find_spec
from typing import TypeVar

from omegaconf import DictConfig

from aetransfer.config.compose import checked
from aetransfer.config.instantiate import check_allow, check_allowed, check_node
from aetransfer.config.requests import ImagesRequest
from aetransfer.config.shapes import of_shape
from aetransfer.errors import UserError
from aetransfer.transfer.exported import Description, check_there_is, read_description

Request = TypeVar("Request", bound=ImagesRequest)


def checked_request(config: DictConfig, overrides: list[str], schema: type[Request]) -> Request:
    """Check the config, that the images are there, and that the table can be written. Raises UserError."""
    request = checked(config, schema)
    check_allow(request.allow, overrides)
    if request.data is not None:
        check_node(request.data.reader, "reader", request.allow)
    images, out = request.images, request.out.expanduser()
    if images is not None:
        images = images.expanduser()
        if not images.exists():
            raise UserError(f"images={request.images} does not exist: give a folder or a .zip.")
    if out.suffix == ".parquet" and find_spec("pyarrow") is None:
        raise UserError(f"out={request.out} needs pyarrow: pip install 'aetransfer[parquet]', or name a .csv or .npz.")
    if not out.parent.is_dir():
        raise UserError(f"out={request.out} can't be written: there is no folder {out.parent}.")
    if out.is_dir() or not os.access(out.parent, os.W_OK):
        raise UserError(f"out={request.out} can't be written there.")
    return request.model_copy(update={"images": images, "out": out})


def check_size(request: ImagesRequest, taken: Sequence[int]) -> None:
    """Raise UserError where inputs can't be had of the shape that the encoder takes, as far as the config says."""
    if request.data is None:
        if request.pad is not None and 2 * request.pad >= min(taken[1:]):
            raise UserError(f"pad={request.pad} leaves nothing of the {of_shape(taken)} that the encoder takes.")
        return
    given = request.data.input_shape
    if given is not None and given[1:] != tuple(taken[1:]):
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
