"""What every encoder has: its own input normalisation, a body, and a bottleneck, which is linear or nothing.

A new encoder subclasses `Encoder`, passes the size of its body's output to `super().__init__` and writes `body`.
"""

from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

from aetransfer.networks.decoder import ConvDecoder, MLPDecoder


class Normalise(nn.Module):
    """Standardise inputs (N, *input_shape) per channel, the first axis of the shape.

    The statistics are buffers, so they travel with the encoder.
    """

    mean: Tensor
    deviation: Tensor

    def __init__(self, input_shape: Sequence[int]) -> None:
        super().__init__()
        channels, *rest = input_shape
        self.register_buffer("mean", torch.zeros(channels, *(1 for _ in rest)))
        self.register_buffer("deviation", torch.ones(channels, *(1 for _ in rest)))

    def set_statistics(self, mean: Tensor, deviation: Tensor) -> None:
        """Set both from (channels,) tensors, in the inputs' units: of images, pixel values in [0, 1]."""
        assert mean.shape == deviation.shape == self.mean.shape[:1], (mean.shape, self.mean.shape)
        self.mean.copy_(mean.view_as(self.mean))
        self.deviation.copy_(deviation.view_as(self.deviation))

    def forward(self, inputs: Tensor) -> Tensor:
        return (inputs - self.mean) / self.deviation

    def undone(self, standardised: Tensor) -> Tensor:
        """Return what was standardised, (N, *input_shape)."""
        return standardised * self.deviation + self.mean


class Encoder(nn.Module, ABC):
    """Inputs (N, *input_shape), of images floats in [0, 1], to codes (N, latent_dim)."""

    # `aetransfer.load_encoder` sets it for encoders of 8-bit images: an image file or a PIL image to input_shape.
    preprocess: Callable[..., Tensor]
    # It sets this as well: names of submodules that training left as they began.
    untrained: tuple[str, ...] = ()
    # Whether inputs are pixels in [0, 1], which a decoder gives by a sigmoid. Others are of any range and unit: losses
    # are of standardised inputs, so that no channel's unit decides.
    takes_pixels: bool = True

    def __init__(self, *, input_shape: Sequence[int], latent_dim: int | None, num_features: int) -> None:
        """input_shape: of one input; of images (channels, height, width).

        latent_dim: None for codes that are the features themselves. num_features: length of what `body` returns for an
        input.
        """
        super().__init__()
        self.input_shape = tuple(input_shape)
        self.code_is_features = latent_dim is None
        self.latent_dim, self.num_features = latent_dim or num_features, num_features
        self.normalise = Normalise(self.input_shape)
        self.bottleneck = nn.Linear(num_features, latent_dim) if latent_dim else nn.Identity()

    @abstractmethod
    def body(self, normalised: Tensor) -> Tensor:
        """Map standardised inputs (N, *input_shape) to (N, num_features)."""

    def make_decoder(self) -> nn.Module:
        """Return a module from codes (N, latent_dim) to logits (N, *input_shape).

        This one has convolutions for images and signals, and fully connected layers for any other shape.
        """
        kind = ConvDecoder if len(self.input_shape) in (2, 3) else MLPDecoder
        return kind(output_shape=self.input_shape, latent_dim=self.latent_dim)

    def layers_from_input(self) -> list[list[nn.Module]]:
        """List the layers, the bottleneck last; unless overridden, every module with parameters of its own is one.

        A bottleneck that hands the features on is none. A normalisation belongs to the layer before it. An override may
        list modules that hold others, as the stages of a residual network: see `modules_of_layers`, which is what the
        arms go by.
        """
        layers: list[list[nn.Module]] = []
        for module in self.modules():
            own = list(module.parameters(recurse=False))
            if not own or module is self.bottleneck:
                continue
            if all(parameter.ndim < 2 for parameter in own) and layers:
                layers[-1].append(module)
            else:
                layers.append([module])
        return layers if self.code_is_features else [*layers, [self.bottleneck]]

    def modules_of_layers(self) -> list[list[nn.Module]]:
        """Return the layers with all that belongs to them: a module goes with the nearest listed one that it is within.

        Of each module only its own parameters and buffers count. The input's normalisation belongs to no layer, nor
        does what has no parameters (dropout) in a module whose parts are all listed by themselves. Raises ValueError
        for a layer that is no list of modules, a module that is in two places, and parameters that are in no layer.
        """
        layers = self.layers_from_input()
        for place, layer in enumerate(layers, 1):
            if not isinstance(layer, list) or not layer or not all(isinstance(each, nn.Module) for each in layer):
                raise ValueError(f"layer {place} is no list of modules")
        apart = {self.normalise, *(module for layer in layers for module in layer)}
        whole = [[each for module in layer for each in _with_parts(module, apart)] for layer in layers]
        found = Counter(module for layer in whole for module in layer)
        if twice := [name for name, module in self.named_modules() if found[module] > 1]:
            raise ValueError(f"{twice[0] or 'the encoder itself'} is listed twice, or within two listed modules")
        held = {parameter for module in found for parameter in module.parameters(recurse=False)}
        if missing := [name for name, parameter in self.named_parameters() if parameter not in held]:
            raise ValueError(f"{missing[0]} is in no layer: list the module that has it, or one around that")
        return whole

    def layer_outputs(self, inputs: Tensor) -> dict[str, Tensor]:
        """Return what each of `layers_from_input` hands on: layer1, layer2, ... and bottleneck, the code.

        The output of a listed module with others that belong to it is its own. Any other layer's is that of the last
        module (normalisation, nonlinearity, pooling) called before the next layer. A layer that is never called by
        itself has none: a class token, attention's projections.
        inputs: (N, *input_shape). Returns maps (N, C, H, W) or vectors (N, D).
        """
        layers = self.layers_from_input()
        names = {module: f"layer{place}" for place, layer in enumerate(layers, 1) for module in layer}
        names[self.bottleneck] = "bottleneck"
        apart = {self.normalise, *names}
        parts = {module: _with_parts(module, apart)[1:] for module in names if module is not self}
        within = {part for each in parts.values() for part in each}
        starts = {self.bottleneck, *(layer[0] for layer in layers)}
        outputs: dict[str, Tensor] = {}
        current = ""

        def note(module: nn.Module, arguments: tuple[Tensor, ...], output: Tensor) -> None:
            nonlocal current
            if module in starts or parts.get(module) or not current:
                current = names.get(module, current)
            if current:
                outputs[current] = output
            if parts.get(module):
                current = ""

        # What changes the shape alone would hide that a layer made maps; an empty Sequential has no children either.
        shapes = (nn.Flatten, nn.Sequential, nn.Identity)
        leaves = [module for module in self.modules() if not list(module.children()) and not isinstance(module, shapes)]
        if self.code_is_features:
            leaves.append(self.bottleneck)
        noted = [module for module in leaves if module not in within]
        noted += [module for module, inner in parts.items() if inner]
        hooks = [module.register_forward_hook(note) for module in noted]
        try:
            self(inputs)
        finally:
            for hook in hooks:
                hook.remove()
        return outputs

    def from_logits(self, logits: Tensor) -> Tensor:
        """Return the inputs (N, *input_shape) that a decoder's logits stand for: pixels, or others in their units."""
        return logits.sigmoid() if self.takes_pixels else self.normalise.undone(logits)

    def in_loss_units(self, difference: Tensor) -> Tensor:
        """Return a difference of inputs (N, *input_shape) as a loss has it: of pixels as it is, else standardised."""
        return difference if self.takes_pixels else difference / self.normalise.deviation

    def features(self, inputs: Tensor) -> Tensor:
        """Return what the bottleneck reads, (N, num_features). Raises ValueError for another shape or dtype."""
        # Images of 28x28 and 32x32 both flatten to 1024 behind four strides, so nothing later would notice.
        if inputs.shape[1:] != self.input_shape:
            expected = ", ".join(["N", *map(str, self.input_shape)])
            raise ValueError(f"The encoder takes inputs of ({expected}), got {tuple(inputs.shape)}.")
        if not inputs.is_floating_point():
            raise ValueError(
                f"The encoder takes floats, of images in [0, 1], got {inputs.dtype}: divide an image's bytes by 255."
            )
        return self.body(self.normalise(inputs))

    def forward(self, inputs: Tensor) -> Tensor:
        return self.bottleneck(self.features(inputs))


def _with_parts(module: nn.Module, apart: set[nn.Module]) -> list[nn.Module]:
    """Return a module and those within it but not within one that stands apart; it alone if they have no parameters."""
    inner = [part for child in module.children() if child not in apart for part in _below(child, apart)]
    return [module, *inner] if any(list(part.parameters(recurse=False)) for part in inner) else [module]


def _below(module: nn.Module, apart: set[nn.Module]) -> list[nn.Module]:
    return [module, *(part for child in module.children() if child not in apart for part in _below(child, apart))]
