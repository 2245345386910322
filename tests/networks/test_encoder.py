"""What every encoder does, whatever its inputs are."""

import pytest
import torch
from torch import nn

from aetransfer.config.instantiate import build
from aetransfer.errors import UserError
from aetransfer.networks.decoder import ConvDecoder
from aetransfer.networks.encoder import Encoder


class Dense(Encoder):
    """Of vectors, or of signals (channels, length)."""

    def __init__(self, *, input_shape, latent_dim):
        super().__init__(input_shape=input_shape, latent_dim=latent_dim, num_features=7)
        self.layer = nn.Linear(torch.Size(input_shape).numel(), 7)

    def body(self, normalised):
        return self.layer(normalised.flatten(1)).relu()


@pytest.mark.parametrize("shape", [(5,), (3, 20), (2, 4, 6)])
def test_an_encoder_takes_inputs_of_any_shape_and_standardises_their_first_axis(shape):
    encoder = Dense(input_shape=list(shape), latent_dim=2)
    inputs = torch.randn(64, *shape) * 3 + 5
    rest = [0, *range(2, inputs.ndim)]
    encoder.normalise.set_statistics(inputs.mean(rest), inputs.std(rest))

    assert encoder.input_shape == shape
    assert encoder(inputs).shape == (64, 2)
    standardised = encoder.normalise(inputs)
    torch.testing.assert_close(standardised.mean(rest), torch.zeros(shape[0]), atol=1e-5, rtol=0)
    torch.testing.assert_close(standardised.std(rest), torch.ones(shape[0]), atol=1e-5, rtol=0)
    with pytest.raises(ValueError, match=r"takes inputs of \(N, .*\), got"):
        encoder(inputs[:, :1])


def test_a_network_for_square_images_refuses_other_inputs():
    for shape in ([12], [1, 12], [1, 12, 16], [1, 1, 12, 12]):
        with pytest.raises(UserError, match=r"conv4.Conv4: it takes square images, \(channels, S, S\), not \("):
            build({"_target_": "aetransfer.networks.conv4.Conv4", "input_shape": shape}, "encoder")
        with pytest.raises(ValueError, match="square images"):
            ConvDecoder(output_shape=shape, latent_dim=2)
