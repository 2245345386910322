"""Carrying weights: exactly the source's, and an error that lists every tensor that doesn't fit."""

import pytest
import torch

from aetransfer.errors import UserError
from aetransfer.networks.conv4 import Conv4
from aetransfer.networks.mlp import MLP
from aetransfer.transfer.carry import carry


def make(**settings):
    return Conv4(**({"input_shape": (1, 16, 16), "latent_dim": 6, "widths": [4, 8]} | settings))


def test_every_tensor_is_carried():
    source, target = make(batch_norm=True), make(batch_norm=True)
    source.normalise.set_statistics(torch.tensor([0.3]), torch.tensor([0.2]))
    carry(source.state_dict(), target, "run")

    assert all(torch.equal(value, source.state_dict()[key]) for key, value in target.state_dict().items())


def test_a_part_that_the_source_left_untrained_stays_as_it_is():
    source, target = make(), make(input_shape=(3, 16, 16))
    fresh = {key: value.clone() for key, value in target.state_dict().items()}
    carry(source.state_dict(), target, "run", ["bottleneck"])

    same = {key for key, value in target.state_dict().items() if torch.equal(value, fresh[key])}
    assert {"bottleneck.weight", "bottleneck.bias"} <= same
    assert torch.equal(target.convolutions[2].weight, source.convolutions[2].weight)


def test_an_inflated_encoder_answers_a_grey_image_as_before():
    source, target = make(), make(input_shape=(3, 16, 16))
    source.normalise.set_statistics(torch.tensor([0.3]), torch.tensor([0.2]))
    carry(source.state_dict(), target, "run")
    grey = torch.rand(5, 1, 16, 16)

    torch.testing.assert_close(target(grey.expand(-1, 3, -1, -1)), source(grey), atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("shape", [(12, 16, 20), (4, 30)])
@pytest.mark.parametrize("kind", ["conv4", "mlp"])
def test_one_channel_of_images_or_signals_is_inflated_to_any_number(shape, kind):
    def encoder(channels):
        settings = {"input_shape": (channels, *shape[1:]), "latent_dim": 6}
        return MLP(**settings, hidden=[8]) if kind == "mlp" else Conv4(**settings, widths=[4, 8])

    source, target = encoder(1), encoder(shape[0])
    source.normalise.set_statistics(torch.tensor([0.3]), torch.tensor([0.2]))
    carry(source.state_dict(), target, "run")
    same = torch.rand(5, 1, *shape[1:])

    torch.testing.assert_close(target(same.expand(-1, *shape)), source(same), atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize(("source", "target"), [(3, 1), (3, 12), (2, 4)])
def test_several_channels_become_no_other_number(source, target):
    with pytest.raises(UserError, match=f"The encoder in run takes {source} channels, and {target} are asked for"):
        carry(make(input_shape=(source, 16, 16)).state_dict(), make(input_shape=(target, 16, 16)), "run")


def test_a_mismatch_names_the_file_and_lists_every_tensor():
    with pytest.raises(UserError) as caught:
        carry(make(hidden=[12]).state_dict(), make(latent_dim=7), "outputs/runs/mine")

    text = str(caught.value)
    assert text.startswith("The encoder in outputs/runs/mine is of another architecture: ")
    assert "dense.0.weight is not in the encoder" in text
    assert "bottleneck.weight is (6, 12) instead of (7, 128)" in text
    assert "bottleneck.bias is (6,) instead of (7,)" in text


def test_a_missing_tensor_is_named():
    state = make().state_dict()
    del state["convolutions.2.bias"]
    with pytest.raises(UserError, match=r"convolutions\.2\.bias is missing"):
        carry(state, make(), "run")
