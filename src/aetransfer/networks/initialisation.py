"""He initialisation, for transposed convolutions too."""

from math import prod

from torch import nn


def he_(network: nn.Module) -> None:
    """Draw every weight from N(0, 2 / fan_in), zero every bias, in place (He et al. 2015, eq. 10).

    An output pixel of a transposed convolution sums in_channels * k^2 / stride^2 products, so that is its fan-in;
    torch's own `kaiming_normal_` takes out_channels * k^2 there. Of a signal, k and stride count once.
    """
    for layer in network.modules():
        if isinstance(layer, nn.ConvTranspose1d | nn.ConvTranspose2d):
            fan_in = layer.in_channels * prod(layer.kernel_size) / prod(layer.stride)
            nn.init.normal_(layer.weight, std=(2 / fan_in) ** 0.5)
        elif isinstance(layer, nn.Conv1d | nn.Conv2d | nn.Linear):
            nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
        else:
            continue
        if layer.bias is not None:
            nn.init.zeros_(layer.bias)
