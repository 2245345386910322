"""What every encoder has: its own input normalisation, a body, and a linear bottleneck.

A new encoder subclasses `Encoder`, passes the size of its body's output to `super().__init__` and writes `body`.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable

import torch
from torch import Tensor, nn

from aetransfer.networks.decoder import ConvDecoder


class Normalise(nn.Module):
    """Standardise images per channel. The statistics are buffers, so they travel with the encoder."""

    mean: Tensor
    deviation: Tensor

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(channels, 1, 1))
        self.register_buffer("deviation", torch.ones(channels, 1, 1))

    def set_statistics(self, mean: Tensor, deviation: Tensor) -> None:
        """Set both from (channels,) tensors, in units of pixel values in [0, 1]."""
        assert mean.shape == deviation.shape == self.mean.shape[:1], (mean.shape, self.mean.shape)
        self.mean.copy_(mean.view(-1, 1, 1))
        self.deviation.copy_(deviation.view(-1, 1, 1))

    def forward(self, images: Tensor) -> Tensor:
        return (images - self.mean) / self.deviation


class Encoder(nn.Module, ABC):
    """Images (N, in_channels, image_size, image_size) in [0, 1] to codes (N, latent_dim)."""

    # `aetransfer.load_encoder` sets it: an image file or a PIL image to (in_channels, image_size, image_size).
    preprocess: Callable[..., Tensor]

    def __init__(self, *, in_channels: int, image_size: int, latent_dim: int, num_features: int) -> None:
        """`num_features`: length of what `body` returns for an image."""
        super().__init__()
        self.in_channels, self.image_size = in_channels, image_size
        self.latent_dim, self.num_features = latent_dim, num_features
        self.normalise = Normalise(in_channels)
        self.bottleneck = nn.Linear(num_features, latent_dim)

    @abstractmethod
    def body(self, normalised: Tensor) -> Tensor:
        """Map standardised images (N, in_channels, image_size, image_size) to (N, num_features)."""

    def make_decoder(self) -> nn.Module:
        """Return a module from codes (N, latent_dim) to logits (N, in_channels, image_size, image_size)."""
        return ConvDecoder(out_channels=self.in_channels, image_size=self.image_size, latent_dim=self.latent_dim)

    def layers_from_input(self) -> list[list[nn.Module]]:
        """List what is trained, the bottleneck last: each layer with its normalisation.

        Of each module only the parameters and buffers that are its own belong to the layer: modules within it, as those
        of an encoder that has a class token, are listed by themselves.
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
        return [*layers, [self.bottleneck]]

    def layer_outputs(self, images: Tensor) -> dict[str, Tensor]:
        """Return what each of `layers_from_input` hands on: layer1, layer2, ... and bottleneck, the code.

        A layer's output is that of the last module (normalisation, nonlinearity, pooling) called before the next layer.
        A layer that is never called, or has modules within it, has none: a class token, attention's projections.
        images: (N, in_channels, image_size, image_size). Returns maps (N, C, H, W) or vectors (N, D).
        """
        names = {layer[0]: f"layer{place}" for place, layer in enumerate(self.layers_from_input(), 1)}
        names[self.bottleneck] = "bottleneck"
        outputs: dict[str, Tensor] = {}
        current = ""

        def note(module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
            nonlocal current
            current = names.get(module, current)
            if current:
                outputs[current] = output

        # What changes the shape alone would hide that a layer made maps; an empty Sequential has no children either.
        shapes = (nn.Flatten, nn.Sequential, nn.Identity)
        leaves = [module for module in self.modules() if not list(module.children()) and not isinstance(module, shapes)]
        hooks = [module.register_forward_hook(note) for module in leaves]
        try:
            self(images)
        finally:
            for hook in hooks:
                hook.remove()
        return outputs

    def features(self, images: Tensor) -> Tensor:
        """Return what the bottleneck reads, (N, num_features). Raises ValueError for another shape or dtype."""
        channels, size = self.in_channels, self.image_size
        # 28x28 and 32x32 both flatten to 1024 behind four strides, so nothing later would notice.
        if images.shape[1:] != (channels, size, size):
            raise ValueError(f"The encoder takes images of (N, {channels}, {size}, {size}), got {tuple(images.shape)}.")
        if not images.is_floating_point():
            raise ValueError(f"The encoder takes float images in [0, 1], got {images.dtype}: divide bytes by 255.")
        return self.body(self.normalise(images))

    def forward(self, images: Tensor) -> Tensor:
        return self.bottleneck(self.features(images))
