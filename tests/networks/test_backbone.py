"""Networks of torchvision and timm as encoders: what they take and give, and what their layers are."""

import pytest
import torch
from torch import nn

from aetransfer.config.instantiate import TIMM
from aetransfer.data.augmentation import Flip
from aetransfer.errors import UserError
from aetransfer.models.autoencoder import AutoEncoder
from aetransfer.models.contrastive import Contrastive
from aetransfer.models.vae import VAE
from aetransfer.networks.backbone import Torchvision
from aetransfer.transfer.loading import build_encoder

TORCHVISION = "aetransfer.networks.backbone.Torchvision"


def built(model="resnet18", library=TORCHVISION, input_shape=(3, 32, 32), **settings):
    if library == TIMM:
        pytest.importorskip("timm")
    torch.manual_seed(0)
    return build_encoder({"_target_": library, "model": model, "input_shape": input_shape, **settings}, [])


LIBRARIES = [TORCHVISION, TIMM]


@pytest.mark.parametrize("library", LIBRARIES)
@pytest.mark.parametrize("channels", [1, 3, 4])
def test_a_resnet_takes_any_number_of_channels_and_its_features_are_the_code(library, channels):
    encoder = built(library=library, input_shape=(channels, 32, 32)).eval()
    images = torch.rand(2, channels, 32, 32)

    assert encoder.latent_dim == encoder.num_features == 512
    assert torch.equal(encoder(images), encoder.features(images))


@pytest.mark.parametrize("library", LIBRARIES)
def test_a_resnet_has_a_stem_four_stages_and_the_bottleneck_that_is_asked_for(library):
    plain, narrow = built(library=library).eval(), built(library=library, latent_dim=6).eval()
    outputs = narrow.layer_outputs(torch.rand(2, 3, 32, 32))

    assert len(plain.modules_of_layers()) == 5
    assert len(narrow.modules_of_layers()) == 6
    shapes = {name: tuple(output.shape[1:]) for name, output in outputs.items()}
    assert shapes == {
        "layer1": (64, 8, 8),
        "layer2": (64, 8, 8),
        "layer3": (128, 4, 4),
        "layer4": (256, 2, 2),
        "layer5": (512, 1, 1),
        "bottleneck": (6,),
    }
    images = torch.rand(2, 3, 32, 32)
    assert torch.equal(plain.layer_outputs(images)["bottleneck"], plain(images))


@pytest.mark.parametrize(
    ("library", "model", "layers"),
    [
        (TORCHVISION, "mobilenet_v3_small", 14),
        (TORCHVISION, "regnet_y_400mf", 5),
        (TORCHVISION, "swin_t", 8),
        (TIMM, "vit_tiny_patch16_224", 13),
        (TIMM, "efficientnet_b0", 9),
        (TIMM, "regnety_004.tv2_in1k", 5),
    ],
)
def test_other_networks_have_their_blocks_as_layers(library, model, layers):
    encoder = built(model, library).eval()

    assert len(encoder.modules_of_layers()) == layers
    assert list(encoder.layer_outputs(torch.rand(1, 3, 32, 32))) == [
        *(f"layer{place}" for place in range(1, layers + 1)),
        "bottleneck",
    ]


@pytest.mark.parametrize(
    ("library", "model", "sentence"),
    [
        (TORCHVISION, "resnet19", "torchvision.models has no model=resnet19 (did you mean resnet18 or "),
        (TORCHVISION, "get_model", "torchvision.models has no model=get_model (it has "),
        (TORCHVISION, "squeezenet1_1", "model=squeezenet1_1 does not end in a linear classifier: choose another."),
        (TORCHVISION, "maxvit_t", "model=maxvit_t does not take inputs of (3, 32, 32) (Input size (8, 8) of block 0 is not divisible by partition size 7. Consider changing the partition size or the input size)."),
        (TIMM, "resnet_18", "timm has no model=resnet_18 (did you mean resnet18 or "),
        (TIMM, "resnet18.mine", "model=resnet18.mine does not take inputs of (3, 32, 32) (Invalid pretrained tag (mine) for resnet18)."),
        (TIMM, "local-dir:/tmp", "timm has no model=local-dir:/tmp"),
        (TIMM, "hf-hub:some/one", "timm has no model=hf-hub:some/one"),
    ],
)  # fmt: skip
def test_a_model_that_there_is_not_or_that_takes_other_inputs_is_refused(library, model, sentence):
    with pytest.raises(UserError) as caught:
        built(model, library)

    assert str(caught.value).startswith(f"{library}: {sentence}")


def test_pretexts_train_a_backbone_whose_bottleneck_is_none():
    encoder = built()
    assert AutoEncoder(encoder).reconstruct(torch.rand(2, 3, 32, 32)).shape == (2, 3, 32, 32)
    assert Contrastive(built(), [Flip()]).untrained == ()
    assert Contrastive(built(latent_dim=6), [Flip()]).untrained == ("bottleneck",)
    with pytest.raises(ValueError, match=r"its posterior needs a bottleneck: set encoder\.latent_dim"):
        VAE(encoder)
    assert VAE(built(latent_dim=6)).posterior(torch.rand(2, 3, 32, 32))[0].shape == (2, 6)


def test_a_network_is_torchvisions_own_but_for_its_classifier():
    from torchvision.models import resnet18

    torch.manual_seed(3)
    theirs = resnet18()
    encoder = Torchvision(input_shape=(3, 32, 32), model="resnet18")
    encoder.net.load_state_dict({key: value for key, value in theirs.state_dict().items() if not key.startswith("fc.")})
    theirs.fc = nn.Identity()
    images = torch.rand(2, 3, 32, 32)

    assert torch.equal(encoder.eval()(images), theirs.eval()(images))
