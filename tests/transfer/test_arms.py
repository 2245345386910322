"""What an arm of one's own says is done, in any model, and checked before anything is trained."""

import pytest
import torch

from aetransfer.errors import UserError
from aetransfer.models.classifier import Classifier
from aetransfer.networks.conv4 import Conv4
from aetransfer.networks.head import Head
from aetransfer.transfer.arms import Arm, StandardArm
from aetransfer.transfer.carry import initialise_
from tests.made import optimised, trainer_of

LAYERS = 3


def make(arm, **encoder):
    body = Conv4(input_shape=(1, 16, 16), latent_dim=6, widths=[4, 8], batch_norm=True, **encoder)
    model = optimised(Classifier(body, Head(6, 3), 3))
    model.follow(arm)
    return model


def arm_of(**methods):
    return type("Mine", (Arm,), {name: lambda self, *_, given=given: given for name, given in methods.items()})()


def in_epoch(model, epoch, epochs=4):
    model._trainer = trainer_of(steps=epochs * 10, epoch_steps=10)
    model._trainer.current_epoch = epoch
    model.on_train_epoch_start()
    return model


class Late(Arm):
    """The layers from the bottleneck down to the second, and that from the third epoch on."""

    def trains(self, layers, epoch, epochs):
        return [place > 0 and (place == layers - 1 or epoch >= 2) for place in range(layers)]


def test_layers_that_an_epoch_does_not_train_get_no_update_and_keep_their_buffers():
    model = make(Late())
    for epoch, trained in ((0, {"bottleneck"}), (2, {"bottleneck", "convolutions.3", "convolutions.4"})):
        before = {key: value.clone() for key, value in model.encoder.state_dict().items()}
        in_epoch(model, epoch)
        optimizer = torch.optim.SGD(model.parameters(), lr=1.0)
        model(torch.rand(8, 1, 16, 16)).square().sum().backward()
        model.on_before_optimizer_step(optimizer)
        optimizer.step()

        after = model.encoder.state_dict()
        changed = {key.rpartition(".")[0] for key, value in after.items() if not torch.equal(value, before[key])}
        assert changed == trained


def test_a_layer_of_rate_0_is_not_given_to_the_optimiser_and_the_others_have_their_factors():
    model = make(arm_of(rates=(0, 0.25, 1)))
    groups = model.optimisation.make(model.rates(), 10, "max")[0].param_groups

    assert {group["name"]: group["lr"] for group in groups} == pytest.approx(
        {"encoder_1": 0.25e-3, "encoder_2": 1e-3, "head": 1e-3}
    )
    assert not any(parameter.requires_grad for parameter in model.encoder.convolutions[:2].parameters())


def test_where_no_layer_has_a_rate_the_whole_encoder_is_frozen():
    model = make(arm_of(rates=[0.0] * LAYERS))
    model.train()

    assert not any(module.training for module in model.encoder.modules())
    assert not any(parameter.requires_grad for parameter in model.encoder.parameters())


def test_factors_without_a_learning_rate_are_refused():
    model = make(arm_of(rates=[0.5] * LAYERS))
    model.optimisation = optimised(model, lr=None).optimisation

    with pytest.raises(UserError, match=r"factors of a learning rate: set optimizer\.lr"):
        model.rates()


@pytest.mark.parametrize(
    "given", [[1.0] * 2, [1.0, -0.1, 1.0], [1.0, float("inf"), 1.0], [True] * LAYERS, None, 3, "abc"]
)
def test_rates_that_are_none_are_refused_in_a_sentence(given):
    with pytest.raises(UserError, match=r"Mine\.rates gives .* for 3 layers: give a list with a number from 0 on"):
        make(arm_of(rates=given))


@pytest.mark.parametrize("given", [[True] * 4, [1, 0, 1], [True, None, True], True])
def test_trained_layers_that_are_no_bools_are_refused_in_a_sentence(given):
    model = make(arm_of(trains=given))

    with pytest.raises(UserError, match=r"Mine\.trains gives .* for 3 layers: give a list with True or False for each"):
        model.check_arm(epochs=2)


def test_what_an_arm_would_say_wrong_in_a_late_epoch_is_found_at_the_start():
    class Forgetful(Arm):
        def trains(self, layers, epoch, epochs):
            return [True] * layers if epoch < 3 else []

    make(Forgetful()).check_arm(epochs=3)
    with pytest.raises(UserError, match=r"Forgetful\.trains gives"):
        make(Forgetful()).check_arm(epochs=3.5)


def test_an_arm_draws_the_same_numbers_again_and_leaves_the_heads_alone():
    class Drawn(Arm):
        def begin(self, encoder, fresh, seed):
            with torch.no_grad():
                encoder.bottleneck.weight.copy_(torch.randn_like(encoder.bottleneck.weight))

    made = []
    for arm, seed in ((Drawn(), 0), (Drawn(), 0), (Drawn(), 1), (Arm(), 0)):
        torch.manual_seed(7)
        encoder = Conv4(input_shape=(1, 16, 16), latent_dim=6, widths=[4, 8])
        assert initialise_(encoder, None, arm, seed).untrained == ()
        made.append((encoder.bottleneck.weight, Head(6, 3).layers[0].weight))
    (first, head), (same, _), (other, _), (_, plain) = made

    assert torch.equal(first, same) and not torch.equal(first, other)
    assert torch.equal(head, plain)


def test_an_arm_that_makes_another_network_of_the_encoder_is_refused():
    class Wider(Arm):
        def begin(self, encoder, fresh, seed):
            encoder.bottleneck = torch.nn.Linear(128, 7)

    with pytest.raises(UserError, match=r"Wider\.begin changes the names, shapes or types"):
        initialise_(Conv4(input_shape=(1, 16, 16), latent_dim=6, widths=[4, 8]), None, Wider(), 0)


def test_the_standard_arms_say_what_they_are():
    gradual, decayed = StandardArm("pretrained", "gradual"), StandardArm("pretrained", "trained", layer_decay=0.5)
    kept = StandardArm("transplanted", "transplant_frozen", transplanted=2)

    assert [gradual.trains(3, epoch, 6) for epoch in (0, 1, 3)] == [[False] * 3, [False, False, True], [True] * 3]
    assert decayed.rates(3) == [0.125, 0.25, 0.5]
    assert kept.rates(3) == [0, 0, 1]
    assert StandardArm("fresh", "frozen").rates(3) == [0, 0, 0]
