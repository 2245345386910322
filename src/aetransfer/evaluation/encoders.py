"""Other encoders beside a run's own: of a run directory, a checkpoint or an exported file."""

from pathlib import Path

from torch import Tensor

from aetransfer.config.schema import GivenEncoder
from aetransfer.config.shapes import of_shape, with_channels
from aetransfer.errors import UserError
from aetransfer.evaluation.measure import Subject
from aetransfer.networks.encoder import Encoder
from aetransfer.transfer.exported import FLOATS, read_description
from aetransfer.transfer.foreign import is_foreign, take_
from aetransfer.transfer.loading import load_encoder


def load(path: str, subject: Subject) -> Encoder:
    """Build and load an encoder. Raises UserError for a file that holds none, or one for other inputs."""
    architecture = read_description(path).architecture
    shape, own = tuple(architecture["input_shape"]), subject.data.shape
    pixels = not architecture.get(FLOATS, False)
    converts = pixels and len(shape) == len(own) == 3 and {shape[0], own[0]} <= {1, 3}
    if shape[1:] != own[1:] or len(shape) != len(own) or (shape != own and not converts):
        said = of_shape if converts else with_channels
        raise UserError(f"{path} takes {said(shape)}, but the run's encoder takes {said(own)}: choose another.")
    if pixels != subject.encoder.takes_pixels:
        raise UserError(f"Either {path} or the run's encoder takes pixels, the other one does not: choose another.")
    return load_encoder(path, allow=subject.job.allow).to(subject.device)


def source_of(subject: Subject) -> Encoder | None:
    """Return the encoder that a transfer carried, None where it is not there any more, or nothing was carried.

    Raises UserError as `load`, and for others' weights that are no longer those of the network.
    """
    source, given = subject.source, subject.job.pretrain
    if source is None or not Path(source).exists():
        return None
    if not isinstance(given, GivenEncoder) or not is_foreign(source):
        return load(source, subject)
    encoder = subject.random_encoder(subject.job.seed).cpu()
    take_(encoder, given.model_copy(update={"path": source}))
    return encoder.to(subject.device)


def fitted(inputs: Tensor, encoder: Encoder) -> Tensor:
    """Give an encoder the channels it takes: grey is repeated, colour averaged, which is what inflating undoes.

    Only images of pixels have another number than it takes (`load`).
    """
    channels = encoder.input_shape[0]
    if inputs.shape[1] == channels:
        return inputs
    return inputs.mean(1, keepdim=True) if channels == 1 else inputs.expand(-1, channels, -1, -1)
