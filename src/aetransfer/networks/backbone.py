"""Networks of torchvision and timm as encoders: without their classifier, of any number of channels.

Which of their weights, if any, they start from is not said here: see `aetransfer.transfer.foreign`.
"""

import difflib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from aetransfer.networks.encoder import Encoder
from aetransfer.origin import pip_install

# Fewer would be of no use to what counts layers: transplants, gradual unfreezing, learning rates a layer.
FEWEST_LAYERS = 4


class Backbone(Encoder):
    """A library's network, whose pooled features are the code where latent_dim is None."""

    def __init__(self, net: nn.Module, model: str, input_shape: Sequence[int], latent_dim: int | None) -> None:
        """net: from (N, *input_shape) to features (N, D). Raises ValueError where it takes or gives anything else."""
        features = _features(net, model, input_shape)
        super().__init__(input_shape=input_shape, latent_dim=latent_dim, num_features=features)
        self.net = net

    def body(self, normalised: Tensor) -> Tensor:
        features: Tensor = self.net(normalised)
        return features

    def layers_from_input(self) -> list[list[nn.Module]]:
        """List the network's parts, the largest one opened until there are a few: stem and stages, or blocks.

        A normalisation belongs to the part before it, a class token and positions to the stem.
        """
        opened, parts = [self.net], _parts(self.net)
        while len(layers := _with_normalisations(parts)) < FEWEST_LAYERS and any(map(_parts, parts)):
            largest = max(filter(_parts, parts), key=lambda part: sum(each.numel() for each in part.parameters()))
            place = parts.index(largest)
            opened, parts = [*opened, largest], [*parts[:place], *_parts(largest), *parts[place + 1 :]]
        layers[0] += [part for part in opened if list(part.parameters(recurse=False))]
        return layers if self.code_is_features else [*layers, [self.bottleneck]]


class Torchvision(Backbone):
    """A network of torchvision.models."""

    def __init__(self, *, input_shape: Sequence[int], model: str, latent_dim: int | None = None) -> None:
        """model: as torchvision.models.get_model takes it. Raises ValueError for one that there is not, or whose input
        is none of input_shape, or that has no linear classifier.
        """
        from torchvision import models

        _check_known(model, models.list_models(module=models), "torchvision.models")
        channels, *size = _of_image(input_shape, model)
        settings: dict[str, Any] = {"image_size": size[0]} if model.startswith("vit_") else {}
        if model in ("googlenet", "inception_v3"):
            settings = {"aux_logits": False, "init_weights": True}
        elif model == "maxvit_t":
            settings = {"input_size": tuple(size)}
        with _refusals(model, input_shape):
            net = models.get_model(model, weights=None, **settings)
        _without_classifier(net, model)
        _take_channels(net, channels)
        super().__init__(net, model, input_shape, latent_dim)


class Timm(Backbone):
    """A network of timm, which need not be installed otherwise."""

    def __init__(self, *, input_shape: Sequence[int], model: str, latent_dim: int | None = None) -> None:
        """model: as timm.create_model takes it, with or without the name of its weights: resnet18.a1_in1k.

        Raises ImportError without timm, ValueError for a model that there is not, or whose input is none of
        input_shape.
        """
        timm = imported_timm()
        # A name may also be a folder, or a repository somewhere: those are not built.
        _check_known(model.partition(".")[0], timm.list_models(), "timm")
        channels, *size = _of_image(input_shape, model)
        with _refusals(model, input_shape):
            fixed = timm.get_pretrained_cfg(model).fixed_input_size
            settings = {"img_size": tuple(size)} if fixed else {}
            net = timm.create_model(model, pretrained=False, num_classes=0, in_chans=channels, **settings)
        super().__init__(net, model, input_shape, latent_dim)


def imported_timm() -> Any:
    """Import timm. Raises ImportError, which says how it is installed."""
    try:
        import timm
    except ImportError as error:
        raise ImportError(f"timm is not installed: {pip_install('timm')}") from error
    return timm


def _of_image(shape: Sequence[int], model: str) -> Sequence[int]:
    """Return the shape of an image. Raises ValueError for another."""
    if len(shape) != 3:
        others = {1: "vectors take encoder=mlp", 2: "signals take encoder=conv1d"}
        mend = others.get(len(shape), "others take encoder=mlp")
        raise ValueError(f"model={model} takes images, (channels, height, width), not {tuple(shape)}: {mend}")
    return shape


def _check_known(model: str, known: Sequence[str], library: str) -> None:
    if model in known:
        return
    near = difflib.get_close_matches(model, known, n=3)
    hint = f"did you mean {' or '.join(near)}" if near else f"it has {len(known)}, such as {', '.join(known[:3])}"
    raise ValueError(f"{library} has no model={model} ({hint})")


def _without_classifier(net: nn.Module, model: str) -> None:
    """Let the last linear layer hand its input on. Raises ValueError for a network without one of 1,000 classes."""
    linear = [
        name for name, module in net.named_modules() if isinstance(module, nn.Linear) and module.out_features == 1000
    ]
    if not linear:
        raise ValueError(f"model={model} does not end in a linear classifier: choose another")
    net.set_submodule(linear[-1], nn.Identity())


def _take_channels(net: nn.Module, channels: int) -> None:
    name, first = next((name, module) for name, module in net.named_modules() if isinstance(module, nn.Conv2d))
    if first.in_channels == channels:
        return
    taken: Any = {key: getattr(first, key) for key in ("kernel_size", "stride", "padding", "dilation", "padding_mode")}
    net.set_submodule(name, nn.Conv2d(channels, first.out_channels, bias=first.bias is not None, **taken))


@contextmanager
def _refusals(model: str, input_shape: Sequence[int]) -> Iterator[None]:
    """Say which model refuses an input, and in which words."""
    try:
        yield
    except (RuntimeError, TypeError, ValueError, AssertionError) as error:
        reason = str(error).strip().partition("\n")[0].rstrip(".")
        raise ValueError(f"model={model} does not take inputs of {tuple(input_shape)} ({reason})") from error


def _features(net: nn.Module, model: str, input_shape: Sequence[int]) -> int:
    """Return how many features the network gives. Raises ValueError where it does not take such inputs."""
    net.eval()
    with _refusals(model, input_shape), torch.no_grad():
        given = net(torch.zeros(1, *input_shape))
    net.train()
    if not isinstance(given, Tensor) or given.ndim != 2:
        raise ValueError(f"model={model} gives no features (N, D): choose another")
    return given.shape[1]


def _parts(module: nn.Module) -> list[nn.Module]:
    return [child for child in module.children() if any(True for _ in child.parameters())]


def _with_normalisations(parts: Sequence[nn.Module]) -> list[list[nn.Module]]:
    layers: list[list[nn.Module]] = []
    for part in parts:
        if layers and all(parameter.ndim < 2 for parameter in part.parameters()):
            layers[-1].append(part)
        else:
            layers.append([part])
    return layers
