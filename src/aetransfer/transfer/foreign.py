"""Weights that others trained: which tensors of a file are the encoder's, and what its input is standardised by.

The network is the config's; a file says nothing of it. Either all of its tensors are found, under one prefix, or none
is taken: an encoder that is half carried looks like a bad one.
"""

import logging
import re
from argparse import Namespace
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from safetensors import SafetensorError, safe_open

from aetransfer.config.schema import WEIGHTS_OF_TIMM, GivenEncoder
from aetransfer.errors import UserError
from aetransfer.transfer.exported import FORMAT, loaded

if TYPE_CHECKING:
    from torch import Tensor

    from aetransfer.networks.encoder import Encoder

PICKLES = (".pth", ".pt", ".bin")
# Of what was trained twice in one file, the one that is used later: DINO's teacher, MoCo's query encoder.
PREFERRED = ("teacher", "encoder_q")
# Beyond these, names are counted.
NAMED = 5
IMAGENET = "pretrain.mean=[0.485,0.456,0.406] pretrain.deviation=[0.229,0.224,0.225]"


@dataclass(frozen=True)
class Taken:
    """What was taken of a file, for log, result.json and card.

    tensors: of the encoder, set from the file's with this prefix. fresh: parts of the encoder that stay as they were.
    left: names of the file's tensors that were not used.
    """

    file: str
    prefix: str
    tensors: int
    fresh: tuple[str, ...]
    left: tuple[str, ...]

    def as_dict(self) -> dict[str, Any]:
        left = [_shown(name) for name in self.left[:20]]
        return asdict(self) | {"left": left, "left_count": len(self.left), "said": self.sentence}

    @property
    def sentence(self) -> str:
        under = f" under the prefix {_shown(self.prefix)}" if self.prefix else ""
        fresh = f", the {' and the '.join(self.fresh)} starts fresh" if self.fresh else ""
        left = f", and {len(self.left)} tensors of the file are left ({_some(self.left)})" if self.left else ""
        return f"The encoder's {self.tensors} tensors are taken from {Path(self.file).name}{under}{fresh}{left}."


def is_foreign(path: str) -> bool:
    """Tell whether a file is one of weights that this program has not written, by its ending and its header."""
    file = Path(path).expanduser()
    if file.suffix != ".safetensors" or not file.is_file():
        return file.suffix in PICKLES and file.is_file()
    try:
        with safe_open(file, framework="np") as opened:
            return FORMAT not in (opened.metadata() or {})
    except (SafetensorError, OSError):
        return False


def check_ending(path: str) -> None:
    """Raise UserError for a file that can be neither an encoder nor weights."""
    file = Path(path).expanduser()
    if file.is_file() and file.suffix not in ("", ".ckpt", ".safetensors", *PICKLES):
        raise UserError(
            f"{path} ends in {file.suffix}: pretrain= takes a run's directory, its .ckpt or .safetensors, or others' "
            "weights in .safetensors, .pth, .pt or .bin."
        )


def completed(given: GivenEncoder, model: str | None, digest: Callable[[Path], str]) -> GivenEncoder:
    """Fill in what a config leaves open of others' weights: their digest, and what timm knows of its own.

    model: the name of a network of timm, None for another encoder. digest: of a file. Raises UserError for statistics
    that nobody knows, and for weights of timm that can't be fetched.
    """
    path = given.path
    if path == WEIGHTS_OF_TIMM:
        if model is None:
            raise UserError("pretrain=timm takes the weights that timm has for its networks: add encoder=timm.")
        path = _fetched(model)
    statistics: dict[str, Any] = {}
    if given.mean is None:
        # A name without a tag is of weights that timm would choose, and a file may hold others.
        if model is None or (given.path != WEIGHTS_OF_TIMM and "." not in model):
            tag = "" if model is None else ", or the name of the weights to encoder.model, as in resnet18.a1_in1k"
            raise _unknown_statistics(path, tag)
        config = _config_of(model)
        statistics = {"mean": list(config.mean), "deviation": list(config.std)}
    return given.model_copy(update={"path": path, "digest": digest(Path(path).expanduser()), **statistics})


def _unknown_statistics(path: str, otherwise: str = "") -> UserError:
    return UserError(
        f"{path} does not say what its images were standardised by: add the mean and deviation of each channel, of "
        f"pixels in [0, 1] (ImageNet's are {IMAGENET}){otherwise}."
    )


def _config_of(model: str) -> Any:
    from aetransfer.networks.backbone import imported_timm

    try:
        config = imported_timm().get_pretrained_cfg(model)
    except (ImportError, RuntimeError) as error:
        raise UserError(f"encoder.model={model}: {str(error).rstrip('.')}.") from error
    if config is None:
        raise UserError(f"encoder.model={model}: timm has no such network.")
    return config


def _fetched(model: str) -> str:
    """Return where the weights lie that timm has for a network, fetched unless they are there already."""
    config = _config_of(model)
    if not config.hf_hub_id:
        raise UserError(f"timm has no weights of its own for encoder.model={model}: give a file with pretrain=PATH.")
    from huggingface_hub import hf_hub_download
    from huggingface_hub.errors import LocalEntryNotFoundError

    place = config.hf_hub_id, config.hf_hub_filename or "model.safetensors"
    # It would try six times to learn whether what lies here is the newest, and tell of each.
    logging.getLogger("huggingface_hub").setLevel(logging.ERROR)
    try:
        with suppress(LocalEntryNotFoundError):
            return hf_hub_download(*place, local_files_only=True)
        return hf_hub_download(*place)
    except Exception as error:  # what a client of a service raises is its own affair
        reason = str(error).strip().partition("\n")[0].rstrip(".")
        raise UserError(
            f"timm's weights {config.hf_hub_id} can't be fetched ({type(error).__name__}: {reason}): where there is no "
            "network, give their file with pretrain=PATH."
        ) from error


def take_(encoder: "Encoder", given: GivenEncoder) -> Taken:
    """Set an encoder's body, its bottleneck where the file has one, and the statistics of its input, in place.

    given: as `completed` gives it. Raises UserError for a file that is damaged, holds more than weights, or
    lacks a tensor of the body.
    """
    import torch

    if given.mean is None or given.deviation is None:
        raise _unknown_statistics(given.path)
    if len(given.mean) != (channels := encoder.input_shape[0]):
        raise UserError(
            f"pretrain.mean is of {len(given.mean)} channels, and the data have {channels}: set "
            f"data.channels={len(given.mean)}."
        )
    state = dict(_flat(_content(Path(given.path).expanduser())))
    own = {key: value for key, value in encoder.state_dict().items() if not key.startswith("normalise.")}
    body = {key: value for key, value in own.items() if not key.startswith("bottleneck.")}
    # Where one module holds the whole body, its name is ours.
    holders = {key.partition(".")[0] for key in body}
    holder = f"{holders.pop()}." if len(holders) == 1 else ""
    wanted = {key.removeprefix(holder): value for key, value in body.items()}
    prefix = _prefix(state, wanted, given)
    found = {holder + key: prefix + key for key in wanted if prefix + key in state}
    bottleneck = {key: value for key, value in own.items() if key not in body}
    beside = prefix.removesuffix(holder)
    fresh = ("bottleneck",) if bottleneck and not _fits(state, beside, bottleneck) else ()
    found |= {} if fresh else {key: beside + key for key in bottleneck}
    encoder.load_state_dict(encoder.state_dict() | {key: state[name] for key, name in found.items()})
    encoder.normalise.set_statistics(torch.tensor(given.mean), torch.tensor(given.deviation))
    used = set(found.values())
    return Taken(given.path, prefix, len(found), fresh, tuple(name for name in state if name not in used))


def _content(file: Path) -> Any:
    if file.suffix == ".safetensors":
        from safetensors.torch import load_file

        return load_file(file)
    import torch

    # MAE's and DINO's checkpoints hold the arguments of their command in one, which runs nothing.
    with torch.serialization.safe_globals([Namespace]):
        content = loaded(file)
    match content:
        case {"hyper_parameters": {"architecture": _}}:
            raise UserError(f"{file} is a checkpoint of this program: let its name end in .ckpt.")
    return content


def _flat(content: Any, prefix: str = "", depth: int = 0) -> "Iterator[tuple[str, Tensor]]":
    """Yield the tensors of nested mappings by dotted names."""
    import torch

    if isinstance(content, Mapping) and depth < 5:
        for key, value in content.items():
            if isinstance(value, torch.Tensor):
                yield f"{prefix}{key}", value
            else:
                yield from _flat(value, f"{prefix}{key}.", depth + 1)


def _prefix(state: "Mapping[str, Tensor]", wanted: "Mapping[str, Tensor]", given: GivenEncoder) -> str:
    """Return what stands before the names of the encoder's tensors in a file's. Raises UserError where they don't fit,
    or do so more than once.
    """
    if given.prefix is not None:
        prefixes = [f"{given.prefix.rstrip('.')}." if given.prefix else ""]
    else:
        ends = [*wanted][:1] + [*wanted][-1:]
        found = {name.removesuffix(end) for end in ends for name in state if name.endswith(end)}
        # Of names that end in conv1, net.conv1 has a prefix and myconv1 none.
        prefixes = sorted(prefix for prefix in found if not prefix or prefix.endswith("."))
    fitting = [prefix for prefix in prefixes if _fits(state, prefix, wanted)]
    if not fitting:
        best = max(prefixes, key=lambda prefix: sum(prefix + key in state for key in wanted), default="")
        raise _unfit(state, best, wanted, given)
    preferred = [each for word in PREFERRED for each in fitting if word in each.split(".")]
    if len(fitting) > 1 and not preferred:
        raise UserError(
            f"{given.path} holds the encoder {len(fitting)} times: choose one with pretrain.prefix="
            f"{' or pretrain.prefix='.join(_shown(each.rstrip('.')) for each in fitting[:NAMED])}."
        )
    return [*preferred, *fitting][0]


def _misfits(state: "Mapping[str, Tensor]", prefix: str, wanted: "Mapping[str, Tensor]") -> tuple[list[str], list[str]]:
    """Return which of the wanted tensors a file lacks under a prefix, and which are of another kind there."""
    # Files of 2018 and before don't count batches, and nothing that is carried reads the count.
    missing = [key for key in wanted if prefix + key not in state and not key.endswith("num_batches_tracked")]
    there = [key for key in wanted if prefix + key in state]
    return missing, [key for key in there if _kind(state[prefix + key]) != _kind(wanted[key])]


def _kind(tensor: "Tensor") -> tuple[Any, ...]:
    """Return what must agree. A quantised tensor of integers, or a sparse one, is no weight of this network."""
    return tensor.shape, tensor.is_floating_point(), tensor.layout, tensor.is_meta


def _fits(state: "Mapping[str, Tensor]", prefix: str, wanted: "Mapping[str, Tensor]") -> bool:
    return not any(_misfits(state, prefix, wanted))


def _unfit(
    state: "Mapping[str, Tensor]", prefix: str, wanted: "Mapping[str, Tensor]", given: GivenEncoder
) -> UserError:
    missing, others = _misfits(state, prefix, wanted)
    if len(missing) > len(wanted) / 2:
        return UserError(
            f"{given.path} lacks {len(missing)} of the encoder's {len(wanted)} tensors ({_some(missing)}) and has "
            f"{_some(list(state)) or 'none'}: choose the network that it is of, or say with pretrain.prefix what "
            "stands before its names."
        )
    shapes = [f"{key} is {_form(state[prefix + key])} instead of {_form(wanted[key])}" for key in others]
    said = shapes[:NAMED] + ([f"{len(shapes) - NAMED} more are of another shape"] if len(shapes) > NAMED else [])
    if missing:
        said.append(f"{len(missing)} are missing ({_some(missing)})")
    return UserError(
        f"The weights in {given.path} are of another network than the encoder, of whose {len(wanted)} tensors "
        f"{'; '.join(said)}."
    )


def _form(tensor: "Tensor") -> str:
    return f"{tuple(tensor.shape)}{'' if tensor.is_floating_point() else f' of {tensor.dtype}'}"


def _some(names: Sequence[str]) -> str:
    more = [f"{len(names) - NAMED} more"] if len(names) > NAMED else []
    return ", ".join([*map(_shown, names[:NAMED]), *more])


def _shown(name: str) -> str:
    """Return a tensor's name as it can stand in any text: a file of anybody's may hold markup for one."""
    return re.sub(r"[^\w.:-]", "?", name)[:100]
