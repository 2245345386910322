"""Somebody's own models are looked at by what they can do."""

from functools import partial

import pytest
import torch
from pytorch_lightning import Trainer
from torch import nn

from aetransfer.errors import UserError
from aetransfer.models.base import Pretext
from aetransfer.models.facts import Quantity
from aetransfer.networks.conv4 import Conv4
from aetransfer.training.callbacks.curves import Curves
from aetransfer.training.callbacks.health import DeadDecoder
from aetransfer.training.callbacks.images import Interpolations, PriorSamples, ReconstructionGrid, Traversals
from aetransfer.training.callbacks.targets import Mistakes, OnlineProbe
from tests.data.test_module import make_module
from tests.made import names_in


class Own(Pretext):
    """A pretext that does nothing but have an encoder."""

    metrics = {"size": Quantity("size of its weight")}  # noqa: RUF012

    def __init__(self):
        super().__init__(Conv4(input_shape=(1, 8, 8), latent_dim=4, widths=[4, 8]))
        self.weight = nn.Parameter(torch.zeros(()))
        self.make_metrics()

    def step(self, batch):
        size = self.weight.expand(len(batch.inputs))
        return {"loss": size, "size": size}

    def configure_optimizers(self):
        return torch.optim.SGD([self.weight], lr=0.0)


class Drawing(Own):
    """drawn: what its decoder ends in, from codes (N, 4)."""

    def __init__(self, drawn=lambda codes: codes.mean(1).sigmoid()):
        super().__init__()
        self.drawn = drawn

    def decode(self, codes):
        return self.drawn(codes).view(-1, 1, 1, 1).expand(-1, 1, 8, 8)

    def reconstruct(self, inputs):
        return self.decode(self.encoder(inputs))


class Posterior(Drawing):
    def observe(self, inputs, generator):
        return inputs

    def posterior(self, inputs):
        return self.encoder(inputs), torch.zeros(len(inputs), 4)

    def nll(self, codes, observed, margin):
        return torch.zeros(len(codes))


def trained(model, *callbacks, data=None):
    torch.manual_seed(0)
    trainer = Trainer(
        max_epochs=1, accelerator="cpu", logger=False, enable_checkpointing=False, enable_progress_bar=False,
        enable_model_summary=False, num_sanity_val_steps=0, callbacks=list(callbacks),
    )  # fmt: skip
    trainer.fit(model, datamodule=data or make_module())
    return trainer


def test_any_pretext_is_probed_and_none_is_asked_for_what_it_can_not_do(tmp_path):
    grids = [kind(str(tmp_path)) for kind in (ReconstructionGrid, PriorSamples, Interpolations, Traversals, Mistakes)]

    trainer = trained(Own(), OnlineProbe(images=50), Curves(), DeadDecoder(), *grids)

    assert 0 <= trainer.callback_metrics["val/probe_acc"] <= 1
    assert not names_in(tmp_path)


@pytest.mark.parametrize(
    ("kind", "drawn"),
    [
        (Drawing, {"reconstructions.png", "interpolations.png"}),
        (Posterior, {"reconstructions.png", "interpolations.png", "traversals.png"}),
    ],
)
def test_what_a_model_can_do_decides_what_is_drawn_of_it(tmp_path, kind, drawn):
    trained(kind(), *(each(str(tmp_path)) for each in (ReconstructionGrid, PriorSamples, Interpolations, Traversals)))

    assert names_in(tmp_path) == drawn


@pytest.mark.parametrize("value", [0.0, 1.0])
def test_any_decoder_that_draws_the_same_at_the_end_of_a_sigmoid_is_dead(value):
    with pytest.raises(UserError, match="The decoder is dead"):
        trained(Drawing(partial(constant, value)), DeadDecoder())


@pytest.mark.parametrize(("kind", "value"), [(Drawing, -0.1), (Drawing, 1.5), (Posterior, 0.0)])
def test_without_a_sigmoid_or_with_a_posterior_there_is_no_such_death(kind, value):
    trained(kind(partial(constant, value)), DeadDecoder())


def constant(value, codes):
    return torch.full((len(codes),), value)


@pytest.mark.parametrize(
    ("outputs", "said"),
    [
        ({"size": torch.zeros(8)}, "gives nothing as loss: give a value for each of the 8 examples"),
        ({"loss": torch.zeros(8, 3), "size": torch.zeros(8)}, r"gives a tensor of \(8, 3\) as loss"),
        ({"loss": torch.zeros(8), "size": torch.zeros(4)}, r"gives a tensor of \(4,\) as size"),
        ({"loss": torch.zeros(8)}, "gives nothing as size"),
    ],
)
def test_a_step_that_gives_something_else_is_told_what_to_give(outputs, said):
    class Wrong(Own):
        def step(self, batch):
            return {name: value + 0 * self.weight for name, value in outputs.items()}

    with pytest.raises(UserError, match=said):
        trained(Wrong(), data=make_module(batch_size=8, labels_per_class=4))
