"""The layers of an encoder that says itself what they are: what arms freeze, transplant and give rates of their own."""

import copy

import pytest
import torch
from torch import nn

from aetransfer.models.classifier import Classifier
from aetransfer.networks.conv4 import Conv4
from aetransfer.networks.encoder import Encoder
from aetransfer.networks.head import Head
from aetransfer.training.callbacks.curves import gradient_norm
from aetransfer.transfer.arms import StandardArm, transplant_
from tests.made import ResidualEncoder, TokenEncoder, optimised, trainer_of


def make(kind=ResidualEncoder, seed=0, **settings):
    torch.manual_seed(seed)
    encoder = kind(input_shape=(1, 16, 16), latent_dim=6, **settings)
    for module in encoder.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.running_var.uniform_(1, 2)
    return encoder


def make_arm(network, **arm):
    model = Classifier(network, Head(6, 3), 3)
    model.follow(StandardArm(**({"weights": "pretrained", "encoder": "trained"} | arm)))
    return optimised(model)


def state_of(module):
    return copy.deepcopy(module.state_dict())


def is_unchanged(module, before):
    return all(torch.equal(value, before[key]) for key, value in module.state_dict().items())


@pytest.mark.parametrize("settings", [{}, {"batch_norm": True, "hidden": [8]}])
def test_layers_that_nobody_overrode_are_as_they_are_listed(settings):
    for encoder in (make(Conv4, widths=[4, 4], **settings), make(TokenEncoder)):
        assert encoder.modules_of_layers() == encoder.layers_from_input()


def test_all_within_a_listed_module_belongs_to_its_layer_but_what_is_listed_by_itself():
    class Apart(ResidualEncoder):
        def layers_from_input(self):
            return [[self.stem], [self.first], [self.second.inner[0]], [self.second], [self.bottleneck]]

    encoder = make(Apart)
    stem, first, convolution, rest, bottleneck = encoder.modules_of_layers()

    assert set(stem) == set(encoder.stem.modules())
    assert set(first) == set(encoder.first.modules())
    assert convolution == [encoder.second.inner[0]]
    assert set(rest) == set(encoder.second.modules()) - set(convolution)
    assert bottleneck == [encoder.bottleneck]


@pytest.mark.parametrize("layers", [0, 2, 4])
def test_a_transplant_takes_whole_blocks(layers):
    before, after, fresh = make(seed=1), make(seed=1), make(seed=2)
    before.normalise.mean.fill_(0.3), after.normalise.mean.fill_(0.3)
    transplant_(after, fresh, layers)

    for place, name in enumerate(("stem", "first", "second", "bottleneck")):
        expected = (before if place < layers else fresh).get_submodule(name)
        assert is_unchanged(after.get_submodule(name), expected.state_dict())
    assert torch.equal(after.normalise.mean, before.normalise.mean)


def test_frozen_blocks_keep_every_byte_and_the_others_learn():
    encoder = make()
    model = make_arm(encoder, weights="transplanted", encoder="transplant_frozen", transplanted=2)
    before = {name: state_of(module) for name, module in encoder.named_children()}
    optimizer = torch.optim.SGD(model.parameters(), lr=1.0)
    model(torch.rand(8, 1, 16, 16)).square().sum().backward()
    optimizer.step()

    for name in ("stem", "first"):
        assert is_unchanged(encoder.get_submodule(name), before[name])
        assert not any(module.training for module in encoder.get_submodule(name).modules())
    for name in ("second", "bottleneck"):
        assert not is_unchanged(encoder.get_submodule(name), before[name])
        assert all(module.training for module in encoder.get_submodule(name).modules())


def test_a_gradual_arm_drops_the_gradients_of_whole_blocks_and_does_not_count_them():
    encoder = make()
    model = make_arm(encoder, encoder="gradual", unfrozen_by=1.0)
    # The second of four epochs reaches the bottleneck alone.
    model._trainer = trainer_of(steps=4 * 10, epoch_steps=10)
    model._trainer.current_epoch = 1
    model.on_train_start()
    optimizer = torch.optim.SGD(model.parameters(), lr=1.0)
    model(torch.rand(8, 1, 16, 16)).square().sum().backward()
    norm = gradient_norm(model, optimizer)
    model.on_before_optimizer_step(optimizer)

    reached = {name for name, parameter in encoder.named_parameters() if parameter.grad is not None}
    assert reached == {name for name, _ in encoder.named_parameters() if name.startswith("bottleneck")}
    gradients = [parameter.grad for parameter in model.parameters() if parameter.grad is not None]
    assert norm == pytest.approx(torch.nn.utils.get_total_norm(gradients).item())


def test_each_block_has_a_learning_rate():
    encoder = make()
    groups = make_arm(encoder, layer_decay=0.5).rates()
    del groups["head"]

    assert [rate for _, rate in groups.values()] == pytest.approx([1e-3 / 16, 1e-3 / 8, 1e-3 / 4, 1e-3 / 2])
    grouped = [{*parameters} for parameters, _ in groups.values()]
    assert grouped == [
        {*module.parameters()} for module in (encoder.stem, encoder.first, encoder.second, encoder.bottleneck)
    ]


def test_a_blocks_output_is_its_own_and_not_that_of_what_follows():
    encoder = make().eval()
    images = torch.rand(3, 1, 16, 16)
    outputs = encoder.layer_outputs(images)
    stem = encoder.stem(encoder.normalise(images))

    assert list(outputs) == ["layer1", "layer2", "layer3", "bottleneck"]
    assert torch.equal(outputs["layer1"], stem)
    assert torch.equal(outputs["layer2"], encoder.first(stem))
    assert torch.equal(outputs["layer3"], encoder.second(encoder.first(stem)))
    assert torch.equal(outputs["bottleneck"], encoder(images))


def test_a_layer_of_blocks_and_a_normalisation_gives_what_the_last_of_them_does():
    class Grouped(ResidualEncoder):
        def layers_from_input(self):
            return [[self.stem, self.first], [self.second, self.pool], [self.bottleneck]]

    encoder = make(Grouped).eval()
    images = torch.rand(3, 1, 16, 16)
    outputs = encoder.layer_outputs(images)

    assert list(outputs) == ["layer1", "layer2", "bottleneck"]
    assert torch.equal(outputs["layer1"], encoder.first(encoder.stem(encoder.normalise(images))))
    assert torch.equal(outputs["layer2"].flatten(1), encoder.features(images))


class OfTorchvision(Encoder):
    def __init__(self, *, input_shape, latent_dim):
        from torchvision.models import resnet18

        super().__init__(input_shape=input_shape, latent_dim=latent_dim, num_features=512)
        self.net = resnet18(weights=None)
        self.net.fc = nn.Identity()
        self.net.conv1 = nn.Conv2d(input_shape[0], 64, 3, padding=1, bias=False)

    def body(self, normalised):
        return self.net(normalised)


class Staged(OfTorchvision):
    def layers_from_input(self):
        net = self.net
        stages = [[stage] for stage in (net.layer1, net.layer2, net.layer3, net.layer4)]
        return [[net.conv1, net.bn1], *stages, [self.bottleneck]]


def test_a_resnet_18_has_21_layers_or_as_many_as_it_has_stages():
    plain, staged = make(OfTorchvision), make(Staged)
    outputs = staged.eval().layer_outputs(torch.rand(2, 1, 16, 16))

    assert len(plain.modules_of_layers()) == 21
    assert len(staged.modules_of_layers()) == 6
    assert list(outputs) == ["layer1", "layer2", "layer3", "layer4", "layer5", "bottleneck"]
    shapes = [tuple(output.shape[1:]) for output in outputs.values()]
    assert shapes == [(64, 8, 8), (64, 8, 8), (128, 4, 4), (256, 2, 2), (512, 1, 1), (6,)]


@pytest.mark.parametrize(
    ("layers", "sentence"),
    [
        (lambda e: [[e.stem], [e.first], [e.bottleneck]], r"second\.inner\.0\.weight is in no layer: list the module"),
        (lambda e: [[e.stem], [e.first], [e.second]], r"bottleneck\.weight is in no layer"),
        (lambda e: [[e.stem], [e.first], [e.first], [e.second], [e.bottleneck]], "first is listed twice"),
        (lambda e: [[e.stem, e.stem], [e.first], [e.second], [e.bottleneck]], "stem is listed twice"),
        (lambda e: [e.stem, e.first, e.second, e.bottleneck], "layer 1 is no list of modules"),
        (lambda e: [[e.stem], [], [e.first], [e.second], [e.bottleneck]], "layer 2 is no list of modules"),
        (lambda e: [[e.stem.state_dict()["0.weight"]], [e.bottleneck]], "layer 1 is no list of modules"),
    ],
)
def test_layers_that_leave_something_out_or_name_it_twice_are_refused(layers, sentence):
    encoder = make()
    encoder.layers_from_input = lambda: layers(encoder)

    with pytest.raises(ValueError, match=sentence):
        encoder.modules_of_layers()
