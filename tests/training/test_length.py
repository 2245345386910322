"""When a training is validated and when it ends, by a plain rule, in Lightning's own loop."""

import logging
import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from pytorch_lightning import Callback, LightningModule
from torch.utils.data import DataLoader, TensorDataset

from aetransfer.models.length import (
    Length,
    LimitedTrainer,
    batches_left,
    ends_epoch,
    epochs_of,
    epochs_trained,
    is_validated,
    limited,
)


class Line(LightningModule):
    def __init__(self):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.ones(1))

    def training_step(self, batch, batch_idx):
        return (self.weight * batch[0]).sum()

    def validation_step(self, batch, batch_idx):
        pass

    def configure_optimizers(self):
        self.steps = self.trainer.estimated_stepping_batches
        return torch.optim.SGD(self.parameters(), lr=0.1)


class Noted(Callback):
    """What happened, by the number of training batches before it."""

    def __init__(self):
        self.batches, self.left = 0, []
        self.validated, self.expected, self.ended = [], [], []

    def on_train_batch_end(self, trainer, *_):
        self.batches += 1
        self.left.append(batches_left(trainer))
        if is_validated(trainer):
            self.expected.append(self.batches)
        if ends_epoch(trainer):
            self.ended.append(self.batches)

    def on_validation_end(self, *_):
        self.validated.append(self.batches)


@st.composite
def lengths(draw):
    batches = draw(st.integers(1, 7))
    accumulated = draw(st.integers(1, 3))
    interval = draw(st.one_of(st.none(), st.integers(1, batches), st.floats(0.01, 0.99)))
    steps = draw(st.one_of(st.none(), st.integers(1, 12)))
    epochs = draw(st.integers(1, 4)) if steps is None else math.ceil(steps / math.ceil(batches / accumulated))
    return batches, accumulated, interval, steps, epochs, draw(st.integers(1, epochs))


def ends_of(batches, accumulated, steps, epochs):
    """List by how many batches each epoch has ended."""
    ends = [batches * (epoch + 1) for epoch in range(epochs)]
    if steps is not None:
        rest = steps - (epochs - 1) * math.ceil(batches / accumulated)
        ends[-1] = batches * (epochs - 1) + min(batches, rest * accumulated)
    return ends


@pytest.fixture(autouse=True)
def quiet():
    logging.getLogger("pytorch_lightning").setLevel(logging.ERROR)


@settings(max_examples=40, deadline=None)
@given(length=lengths())
def test_a_training_ends_with_its_last_step_and_validates_at_each_interval_and_end_of_an_epoch_that_is_due(length):
    batches, accumulated, interval, steps, epochs, every = length
    ends = ends_of(batches, accumulated, steps, epochs)
    apart = batches if interval is None else interval if isinstance(interval, int) else math.ceil(interval * batches)
    due = [
        number
        for epoch, end in enumerate(ends)
        for number in range(batches * epoch + 1, end + 1)
        if (epoch + 1) % every == 0 or epoch + 1 == epochs
        if number == end or (number - batches * epoch) % apart == 0
    ]

    noted, model = Noted(), Line()
    trainer = LimitedTrainer(
        max_epochs=-1 if steps else epochs, val_check_interval=interval, check_val_every_n_epoch=every,
        accumulate_grad_batches=accumulated, callbacks=[Length(), noted], logger=False, enable_checkpointing=False,
        enable_progress_bar=False, enable_model_summary=False, num_sanity_val_steps=0, accelerator="cpu", devices=1,
    )  # fmt: skip
    trainer.steps = steps
    data = DataLoader(TensorDataset(torch.ones(batches, 1)))
    trainer.fit(model, data, DataLoader(TensorDataset(torch.ones(1, 1))))

    in_epoch = math.ceil(batches / accumulated)
    assert noted.batches == ends[-1]
    assert noted.ended == ends
    assert noted.validated == noted.expected == due
    assert noted.left == list(reversed(range(noted.batches)))
    assert trainer.global_step == model.steps == (steps or epochs * in_epoch)
    assert epochs_of(trainer) == pytest.approx(trainer.global_step / in_epoch)
    assert epochs_trained(trainer) == pytest.approx(trainer.global_step / in_epoch, abs=1e-4)
    assert trainer.max_epochs == trainer.current_epoch == epochs


@given(limit=st.one_of(st.none(), st.integers(1, 500), st.floats(1e-6, 0.999)), batches=st.integers(1, 300))
def test_a_limit_leaves_at_least_one_batch_and_no_more_than_there_are(limit, batches):
    left = limited(limit, batches)

    assert 1 <= left <= batches
    if isinstance(limit, float):
        assert left == 1 or abs(left - limit * batches) < 1
    assert limited(0.29, 100) == 29
