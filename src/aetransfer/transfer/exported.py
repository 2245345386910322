"""An encoder by itself: `encoder.safetensors`, weights and buffers with the architecture in the file's header.

The one form in which encoders travel. A checkpoint is accepted as well: its encoder's part is taken out.
"""

import hashlib
import json
import pickle
import warnings
import zlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from safetensors import SafetensorError, safe_open

from aetransfer.data.reading import UNSTATED, Reading, reading_of
from aetransfer.errors import UserError
from aetransfer.files import read_json, replace_file
from aetransfer.store.directory import RunDirectory

if TYPE_CHECKING:
    from torch import Tensor, nn

    from aetransfer.networks.encoder import Encoder

FORMAT = "aetransfer-encoder-1"
# Keys of the header beside those of the architecture; a file may lack them. The second one is a checkpoint's, too.
PREPROCESSING = "preprocessing"
UNTRAINED = "untrained"
# In an architecture: its inputs are no pixels in [0, 1] but of any range and unit. Without it they are pixels.
FLOATS = "floats"
# Of the header's other keys: tensors belie a wrong architecture, and nothing else would a wrong preprocessing.
CHECKSUM = "checksum"


@dataclass(frozen=True)
class Preprocessing:
    """Of the inputs that an encoder was trained on, as its file's header says it, or the card beside it.

    pad: zero pixels on each side of an image, which are part of the size that the encoder takes.
    """

    pad: int = 0
    reading: Reading = UNSTATED

    def plain(self) -> dict[str, Any]:
        return {"pad": self.pad, **self.reading.plain()}


def preprocessing_of(plain: Mapping[str, Any]) -> Preprocessing:
    """Return what `plain` gave. Raises ValueError for what it never gives."""
    pad = plain.get("pad", 0)
    if not isinstance(pad, int) or isinstance(pad, bool) or pad < 0:
        raise ValueError(f"pad is {pad!r}")
    return Preprocessing(pad, reading_of(plain))


def preprocessing_beside(file: Path) -> Preprocessing | None:
    """Return what the card says that belongs to an encoder's file or a run's checkpoint, None where there is no card.

    Raises UserError for one that is damaged.
    """
    card = RunDirectory(file.parent.parent if file.parent.name == "checkpoints" else file.parent).encoder_card
    try:
        return preprocessing_of(read_json(card)["input"])
    except FileNotFoundError:
        return None
    except (OSError, ValueError, LookupError, TypeError, AttributeError) as error:
        raise UserError(f"{card} is damaged ({type(error).__name__}: {error}): remove it.") from error


@dataclass(frozen=True)
class Description:
    """architecture: the encoder's node with input_shape. digest: the file's SHA-256, 16 digits of it. preprocessing: of
    the images that it was trained on, None where neither the file nor a card beside it says so. untrained: names of the
    encoder's submodules that hold what they began with, as a pretext's that does not use the bottleneck.
    """

    file: Path
    architecture: dict[str, Any]
    digest: str
    preprocessing: Preprocessing | None
    untrained: tuple[str, ...] = ()

    @property
    def takes_images(self) -> bool:
        """Whether its inputs are images with 8 bits, grey or in colour, which files can give."""
        shape = self.architecture["input_shape"]
        return len(shape) == 3 and shape[0] in (1, 3) and not self.architecture.get(FLOATS)

    @property
    def image(self) -> tuple[int, int, int]:
        """Channels, height and width of the images that it takes. Raises UserError for one of other inputs."""
        channels, *size = self.architecture["input_shape"]
        if not self.takes_images:
            raise UserError(
                f"The encoder in {self.file} takes inputs of {(channels, *size)}, not images of 8 bits, grey or in "
                "colour: choose another."
            )
        return channels, size[0], size[1]


def write_encoder(
    path: Path,
    encoder: "Encoder",
    architecture: dict[str, Any],
    preprocessing: Preprocessing | None = None,
    untrained: Sequence[str] = (),
) -> None:
    """Write an encoder's whole state to `path`, atomically. preprocessing, untrained: as in `Description`."""
    from safetensors.torch import save

    state = {key: value.detach().cpu().contiguous() for key, value in encoder.state_dict().items()}
    # One key: safetensors writes several in an order that changes, and the same encoder shall be the same file.
    header = dict(architecture)
    if preprocessing is not None:
        header[PREPROCESSING] = preprocessing.plain()
    if untrained:
        header[UNTRAINED] = list(untrained)
    replace_file(path, save(state, metadata={FORMAT: json.dumps({**header, CHECKSUM: _checksum(header)})}))


def check_there_is(path: str | Path) -> None:
    """Raise UserError for a path where nothing is."""
    if not Path(path).expanduser().exists():
        raise UserError(f"{path} does not exist: give a run directory, an encoder.safetensors or a checkpoint.")


def read_description(path: str) -> Description:
    """Read what a given encoder is, without its weights where the file allows. Raises UserError as `read_state`."""
    file = _file(path)
    preprocessing = None
    if file.suffix == ".safetensors":
        architecture, preprocessing, untrained = _header(file)
    else:
        said = read_checkpoint(file)["hyper_parameters"]
        architecture, untrained = said["architecture"], said[UNTRAINED]
    preprocessing = preprocessing or preprocessing_beside(file)
    size = min(architecture["input_shape"][1:], default=1)
    if preprocessing is not None and preprocessing.pad and 2 * preprocessing.pad >= size:
        raise UserError(
            f"{file} is damaged: of the {size} pixels that it takes, {preprocessing.pad} on each side would be padding."
        )
    return Description(file, architecture, digest_of(file), preprocessing, untrained)


def digest_of(file: Path) -> str:
    """Return 16 digits of a file's SHA-256."""
    with file.open("rb") as opened:
        return hashlib.file_digest(opened, "sha256").hexdigest()[:16]


def whole_model(path: str) -> Path | None:
    """Return the checkpoint of a whole model that a path names; None where it is an exported encoder alone."""
    given = Path(path).expanduser()
    if given.is_dir():
        best = RunDirectory(given).best
        return best if best.is_file() else None
    return None if given.suffix == ".safetensors" else given


def read_state(path: str) -> "dict[str, Tensor]":
    """Return the encoder's tensors by name. Raises UserError for a file that is missing, damaged or of another kind."""
    file = _file(path)
    if file.suffix == ".safetensors":
        from safetensors.torch import load_file

        _header(file)
        return dict(load_file(file))
    return _of_encoder(read_checkpoint(file)["state_dict"])


def _of_encoder(state: "dict[str, Tensor]") -> "dict[str, Tensor]":
    return {key.removeprefix("encoder."): value for key, value in state.items() if key.startswith("encoder.")}


def load_weights(content: dict[str, Any], model: "nn.Module", file: Path) -> None:
    """Set a model's weights to a checkpoint's. Raises UserError where they are not those of this model."""
    try:
        model.load_state_dict(content["state_dict"])
    except RuntimeError as error:
        reason = "; ".join(line.strip().rstrip(".") for line in str(error).splitlines()[1:3])
        raise UserError(f"{file} does not fit the run's config ({reason}): one of them is another run's.") from error


def _file(path: str) -> Path:
    given = Path(path).expanduser()
    if given.is_dir():
        exported = given / "encoder.safetensors"
        if not exported.is_file():
            raise UserError(f"{path} has no encoder.safetensors: it is no run directory, or that run has not finished.")
        return exported
    if not given.is_file():
        raise UserError(
            f"{path} does not exist: pretrain= takes the name of a model, or a run directory, checkpoint or encoder."
        )
    return given


def _header(file: Path) -> tuple[dict[str, Any], Preprocessing | None, tuple[str, ...]]:
    """Return what an encoder's file says of its architecture, of its inputs if it is not too old, and as untrained."""
    try:
        with safe_open(file, framework="np") as opened:
            metadata = opened.metadata() or {}
            shapes = {key: opened.get_slice(key).get_shape() for key in opened.keys()}  # noqa: SIM118
    except (SafetensorError, OSError) as error:
        raise UserError(f"{file} is truncated or no safetensors file ({error}).") from error
    if FORMAT not in metadata:
        raise UserError(f"{file} is no encoder of this program: its header does not say {FORMAT}.")
    try:
        said = json.loads(metadata[FORMAT])
    except (ValueError, RecursionError) as error:
        raise UserError(f"{file} is damaged: its header does not say which encoder it holds.") from error
    architecture: dict[str, Any] = said if isinstance(said, dict) else {}
    checksum = architecture.pop(CHECKSUM, None)
    # The files of earlier versions have none.
    if checksum is not None and checksum != _checksum(architecture):
        raise UserError(f"{file} is damaged: what its header says has another checksum.")
    seen, untrained = architecture.pop(PREPROCESSING, None), architecture.pop(UNTRAINED, None)
    try:
        preprocessing = None if seen is None else preprocessing_of(seen)
    except (ValueError, AttributeError) as error:
        raise UserError(f"{file} is damaged: what its header says of its inputs is wrong ({error}).") from error
    return _complete(architecture, shapes, file), preprocessing, _untrained(untrained, shapes, file)


def _checksum(header: dict[str, Any]) -> str:
    return f"{zlib.crc32(json.dumps(header, sort_keys=True).encode()):08x}"


def _complete(architecture: Any, shapes: Mapping[str, Sequence[int]], file: Path) -> dict[str, Any]:
    """Return the architecture where it says what it must, and claims nothing that the file's tensors belie."""
    match architecture:
        # As earlier versions wrote it.
        case {"in_channels": channels, "image_size": size, **others}:
            architecture = {**others, "input_shape": [channels, size, size]}
    match architecture:
        case {"_target_": str(), "input_shape": [_, *_] as shape, **sizes} if all(
            type(n) is int and n > 0 for n in shape
        ):
            if list(shapes.get("normalise.mean", shape))[:1] != shape[:1]:
                raise UserError(f"{file} is damaged: it says input_shape={shape}, and its tensors have other channels.")
            largest = max((side for shape in shapes.values() for side in shape), default=0)
            for key in ("latent_dim", "widths", "hidden"):
                claimed = sizes.get(key, 0)
                each = claimed if isinstance(claimed, list) else [claimed]
                if any(isinstance(side, int) and side > largest for side in each):
                    raise UserError(f"{file} is damaged: it says {key}={claimed}, and none of its tensors is so large.")
            return architecture
    raise UserError(f"{file} is damaged: what it says of its encoder lacks the class or the shape of its inputs.")


def _untrained(said: Any, tensors: Iterable[str], file: Path) -> tuple[str, ...]:
    """Return the submodules that are said to be untrained, if the encoder's tensors are of such."""
    names = [] if said is None else said
    parts = {key[:end] for key in tensors for end, sign in enumerate(key) if sign == "."}
    if isinstance(names, list | tuple) and all(isinstance(name, str) and name in parts for name in names):
        return tuple(names)
    raise UserError(f"{file} is damaged: it says that {said!r} of its encoder is untrained, and there is no such part.")


def read_checkpoint(file: Path) -> dict[str, Any]:
    """Load a checkpoint of this program; nothing in the file is run. Raises UserError for any other file.

    Its hyper_parameters say `architecture` and `untrained` as `Description` does, whatever version wrote it.
    """
    import torch

    content = loaded(file)
    match content:
        case {"hyper_parameters": {"architecture": architecture}, "state_dict": dict()}:
            state = content["state_dict"]
            if not all(isinstance(key, str) and isinstance(value, torch.Tensor) for key, value in state.items()):
                raise UserError(f"{file} is damaged: what should be its weights are not tensors.")
            shapes = {key: value.shape for key, value in _of_encoder(state).items()}
            said = {
                "architecture": _complete(architecture, shapes, file),
                UNTRAINED: _untrained(content["hyper_parameters"].get(UNTRAINED), shapes, file),
            }
            return {**content, "hyper_parameters": {**content["hyper_parameters"], **said}}
    raise UserError(f"{file} is no checkpoint of this program: it does not say which encoder it holds.")


def loaded(file: Path) -> Any:
    """Load tensors and plain data; nothing in the file is run. Raises UserError for a file that holds anything else."""
    import torch

    try:
        # torch warns of old pickles, and then refuses them anyway.
        with warnings.catch_warnings(action="ignore"):
            return torch.load(file, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise UserError(
            f"{file} holds more than weights, or is damaged: it could run code and is not loaded."
        ) from error
    except Exception as error:
        # What a damaged pickle makes torch stumble over is anybody's guess.
        raise UserError(f"{file} is damaged or no checkpoint ({type(error).__name__}: {error}).") from error
