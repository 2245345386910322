"""What can be said of a command line that uses a finished run, before torch is imported."""

import os
from importlib.util import find_spec
from typing import Any, TypeVar

from omegaconf import DictConfig

from aetransfer.config.compose import checked
from aetransfer.config.instantiate import check_allow, check_allowed, check_node
from aetransfer.config.requests import ImagesRequest
from aetransfer.errors import UserError
from aetransfer.transfer.card import Input
from aetransfer.transfer.exported import check_there_is, read_description

Request = TypeVar("Request", bound=ImagesRequest)


def checked_request(config: DictConfig, overrides: list[str], schema: type[Request]) -> Request:
    """Check the config, that the images are there, and that the table can be written. Raises UserError."""
    request = checked(config, schema)
    check_allow(request.allow, overrides)
    if request.data is not None:
        check_node(request.data.reader, "reader", request.allow, later=["split"])
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


def fitted(request: Request, image_size: int, trained_on: Input | None) -> Request:
    """Return the request with the padding of loose images: as asked for, or as the encoder was trained.

    image_size: what the encoder takes. Raises UserError where images of that size can't be had.
    """
    if request.data is None:
        pad = request.pad if request.pad is not None else trained_on.pad if trained_on is not None else 0
        if 2 * pad >= image_size:
            raise UserError(f"pad={pad} leaves nothing of the {image_size}x{image_size} pixels that the encoder takes.")
        return request.model_copy(update={"pad": pad})
    size = request.data.input_size
    if size != image_size:
        raise UserError(
            f"The encoder takes {image_size}x{image_size} images, but {request.data.name} gives {size}x{size}: set "
            "data.pad or data.image_size to fit."
        )
    return request


def architecture_at(path: str, allow: list[str]) -> dict[str, Any]:
    """Return what the encoder at a path is. Raises UserError where there is none, or it may not be built."""
    check_there_is(path)
    architecture = read_description(path).architecture
    check_allowed(architecture["_target_"], "encoder", allow)
    return architecture
