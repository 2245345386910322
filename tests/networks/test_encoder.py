"""What every encoder does, whatever its inputs are."""

import pytest
import torch
from torch import nn

from aetransfer.config.instantiate import build
from aetransfer.config.schema import Conv4Encoder
from aetransfer.errors import UserError
from aetransfer.networks.decoder import ConvDecoder
from aetransfer.networks.encoder import Encoder
from aetransfer.networks.mlp import MLP


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


@pytest.mark.parametrize("shape", [(7,), (3, 21), (5, 17, 40), (1, 4, 5, 6)])
def test_an_encoder_of_ones_own_has_a_decoder_for_inputs_of_any_shape(shape):
    encoder = Dense(input_shape=shape, latent_dim=2)

    assert encoder.make_decoder()(encoder(torch.randn(3, *shape))).shape == (3, *shape)


@pytest.mark.parametrize("hidden", [[], [8], [16, 8]])
@pytest.mark.parametrize("shape", [(1,), (30,), (3, 21), (2, 5, 7)])
def test_fully_connected_layers_give_back_any_shape_and_learn_in_every_parameter(shape, hidden):
    torch.manual_seed(0)
    encoder = MLP(input_shape=shape, latent_dim=4, hidden=hidden)
    decoder = encoder.make_decoder()
    given = decoder(encoder(torch.randn(16, *shape)))
    given.square().mean().backward()

    assert given.shape == (16, *shape)
    assert [weight.shape for weight in (*encoder.parameters(), *decoder.parameters()) if weight.grad is None] == []
    assert len(encoder.modules_of_layers()) == len(hidden) + 1


def test_a_convolutional_network_refuses_inputs_that_are_neither_images_nor_signals():
    for shape in ([12], [1, 1, 12, 12]):
        with pytest.raises(UserError, match=r"conv4.Conv4: it takes images, .* and signals, .* not \(.*encoder=mlp"):
            build({"_target_": "aetransfer.networks.conv4.Conv4", "input_shape": shape}, "encoder")
        with pytest.raises(ValueError, match="images"):
            ConvDecoder(output_shape=shape, latent_dim=2)


@pytest.mark.parametrize(
    ("shape", "takes"), [([12], "vectors take encoder=mlp"), ([3, 64], "signals take encoder=conv1d")]
)
def test_a_librarys_network_says_which_encoder_takes_what_is_no_image(shape, takes):
    node = {"_target_": "aetransfer.networks.backbone.Torchvision", "model": "resnet18", "input_shape": shape}
    with pytest.raises(UserError, match=takes):
        build(node, "encoder")


def test_a_config_is_told_what_fits_before_anything_is_built():
    encoder = Conv4Encoder.model_validate({"_target_": "aetransfer.networks.conv4.Conv4"})
    encoder.check_shape((12, 16, 40), "data")
    encoder.check_shape((1, 16), "data")
    for shape, said in (
        ((3, 16, 15), "images of 16 pixels or more, not 15: raise data.image_size or data.pad"),
        ((1, 15), "signals of 16 samples or more, not 15: set data.length"),
        ((30,), r"data has vectors, \(30,\): they take encoder=mlp"),
    ):
        with pytest.raises(UserError, match=said):
            encoder.check_shape(shape, "data")
