"""What every model here shares. A pretext teaches an encoder without labels, a task reads what an encoder gives.

A model of one's own subclasses `Pretext` or `Task` and writes `step`. All else comes from here: curves and metrics,
equal numbers on any number of processes, resume within an epoch, learning rates, freezing.
"""

import math
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, ClassVar, Literal

import torch
from pytorch_lightning import LightningModule
from torch import Tensor, nn
from torchmetrics import Metric

from aetransfer.data.batches import Batch
from aetransfer.data.draws import Draws
from aetransfer.data.targets import Targets, listed
from aetransfer.errors import UserError
from aetransfer.models.capabilities import capabilities_of
from aetransfer.models.facts import ModelFacts, Quantity
from aetransfer.models.length import epochs_of, log_step
from aetransfer.models.optimisation import Optimisation, Rates
from aetransfer.models.split_metrics import CheckedMetric, ConfigMetric, SplitMetrics, as_inputs, refusals_of
from aetransfer.networks.encoder import Encoder
from aetransfer.transfer.arms import Arm, rates_of, summary_of, trained_layers

Outputs = dict[str, Tensor]
# Which of our tasks learns targets of a kind.
LEARNT_BY = {"classes": "classifier", "values": "regressor", "labels": "multilabel"}


class Model(LightningModule, ABC):
    """An encoder that is trained, and what the training needs beside it.

    title: what the model is called in a sentence. metrics: what is measured, by name, the first of which chooses the
    best epoch. untrained: the parts of the encoder that it leaves as they began, such as the bottleneck of a
    contrastive encoder, which is trained by its features. A transfer begins with fresh ones. mixes: whether the
    loss of a task's `step` is `batch.over_targets`, so that it can learn from mixed examples. metric_inputs: by the
    arguments of torchmetrics' `update` (preds, target), what `step` calls them outside training.
    """

    title: ClassVar[str] = "model"
    metrics: ClassVar[Mapping[str, Quantity]]
    untrained: tuple[str, ...] = ()
    mixes: ClassVar[bool] = False
    metric_inputs: ClassVar[Mapping[str, str]] = {}

    seed: int = 0
    optimisation: Optimisation

    def __init__(self, encoder: Encoder) -> None:
        super().__init__()
        self.encoder = encoder
        self.config_metrics: dict[str, ConfigMetric] = {}
        self._monitor: tuple[str, Literal["min", "max"]] | None = None

    @abstractmethod
    def step(self, batch: Batch) -> Outputs:
        """Return tensors by name for a batch of training, validation or test.

        `loss` is what training minimises; those called as a metric are logged and averaged over their split. Each is
        (B,), a value an example; a loss that is no mean over examples may be (), and is exact in one process alone.
        Further tensors, whatever their shape, go to the metrics of `whole_split` that ask for them by name.
        """

    def whole_split(self) -> Mapping[str, Metric]:
        """Return those of `metrics` that are no means over examples, each new.

        The arguments of a metric's `update` are the names of what it gets of `step`: (B, ...) each.
        """
        return {}

    def objective(self, outputs: Outputs, batch: Batch) -> Tensor:
        """Return the loss of a training batch, of which the average over processes is the whole batch's: ()."""
        return self._averaged("loss", outputs, batch)

    def rates(self) -> Rates:
        """Return what is trained at which rate, by the name of its curve: the encoder, and each part beside it."""
        encoder_lr = self.optimisation.encoder_lr
        parts = {name: part for name, part in self.named_children() if not isinstance(part, Metric | SplitMetrics)}
        return {
            name: (part.parameters(), encoder_lr if part is self.encoder else self.optimisation.lr)
            for name, part in parts.items()
        }

    def caveats(self) -> list[str]:
        """Say what the numbers of this model must be read with, a sentence each."""
        return []

    @property
    def summary(self) -> str:
        """Say what was trained, as a sentence goes on with a colon."""
        return f"An encoder and what a {self.title} trains it with"

    @property
    def chosen_by(self) -> str:
        """The metric that chooses the best epoch, where the config names no other."""
        return next(iter(self.metrics))

    @property
    def monitor(self) -> str:
        return self._monitor[0] if self._monitor else f"val/{self.chosen_by}"

    @property
    def monitor_mode(self) -> Literal["min", "max"]:
        if self._monitor:
            return self._monitor[1]
        return "max" if self.metrics[self.chosen_by].better == "higher" else "min"

    def choose_by(self, monitor: str, mode: Literal["min", "max"] | None) -> None:
        """Have another metric choose the best epoch. Raises UserError for one that is not measured, or of no direction.

        monitor: `val/f1`, or what a callback logs. mode: None for the metric's own.
        """
        part, _, name = monitor.partition("/")
        if part != "val" or not name:
            raise UserError(f"model.monitor={monitor} is no validation metric: write val/NAME.")
        if mode is None:
            if name not in self.all_metrics:
                known = ", ".join(f"val/{each}" for each in self.all_metrics)
                raise UserError(
                    f"model.monitor={monitor} is none of the {self.title}'s metrics ({known}): if a callback logs it, "
                    "say which way is better with model.monitor_mode=min or max."
                )
            if name in self.config_metrics and self.all_metrics[name].better is None:
                raise UserError(
                    f"model.monitor={monitor}: its class does not say which way is better, add "
                    f"+metrics.{name}.better=lower or higher."
                )
            mode = "max" if self.all_metrics[name].better == "higher" else "min"
        self._monitor = monitor, mode

    @property
    def all_metrics(self) -> Mapping[str, Quantity]:
        return {**self.metrics, **{name: each.quantity for name, each in self.config_metrics.items()}}

    def add_metric(self, name: str, metric: ConfigMetric) -> None:
        """Measure what a config names beside the model's own. Raises UserError for a name that is taken."""
        if name in self.metrics:
            raise UserError(f"metrics.{name}: the {self.title} has a metric of that name itself: choose another.")
        self.config_metrics[name] = metric

    def make_metrics(self) -> None:
        """Make the metrics of validation and test, once all that they need is there."""
        self.val_metrics, self.test_metrics = (
            SplitMetrics(
                self.all_metrics,
                {**self.whole_split(), **{name: each.make() for name, each in self.config_metrics.items()}},
                self.metric_inputs,
            )
            for _ in range(2)
        )

    def metrics_of(self, part: Literal["val", "test"]) -> dict[str, Metric]:
        """Return what is measured of a part, by name."""
        return (self.val_metrics if part == "val" else self.test_metrics).by_name()

    def because(self, part: Literal["val", "test"]) -> dict[str, str]:
        """Say why a part's targets make metrics NaN: by the metric's name, as a sentence goes on after it."""
        return {}

    def facts(self, name: str) -> ModelFacts:
        """Return what is written down of this model. name: the config's."""
        return ModelFacts(
            name=name,
            title=self.title,
            summary=self.summary,
            can=capabilities_of(self),
            monitor=self.monitor,
            monitor_mode=self.monitor_mode,
            metrics=dict(self.all_metrics),
            untrained=list(self.untrained),
            caveats=self.caveats(),
        )

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        batches = self.trainer.current_epoch * int(self.trainer.num_training_batches) + batch_idx
        batch = _with_draws(batch, "train", self.seed, batches)
        if batch.mixed is not None and not self.mixes:
            raise UserError(
                f"{type(self).__qualname__}.step does not say that it learns from mixed examples: leave what mixes "
                "them out of data.augment, or let its loss be batch.over_targets and set mixes = True."
            )
        outputs = self._stepped(batch)
        named = [name for name in self.metrics if name in outputs]
        log_step(self, lambda: {f"train/{name}": self._averaged(name, outputs, batch) for name in named})
        return batch.share.weighted(self.objective(outputs, batch))

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        self._evaluate(batch, batch_idx, "val", self.val_metrics)

    def test_step(self, batch: Batch, batch_idx: int) -> None:
        self._evaluate(batch, batch_idx, "test", self.test_metrics)

    def _evaluate(self, batch: Batch, batch_idx: int, part: Literal["val", "test"], metrics: SplitMetrics) -> None:
        batch = _with_draws(batch, part, 0, batch_idx)
        outputs = self._stepped(batch)
        for name in metrics.means:
            self._check(name, outputs, batch)
        if missing := [name for names in metrics.asks.values() for name in names.values() if name not in outputs]:
            raise UserError(f"{type(self).__qualname__}.step gives no {', '.join(missing)}, which its metrics ask for.")
        metrics.update(outputs, batch.share.counted)
        self.log_dict({f"{part}/{name}": metric for name, metric in metrics.by_name().items()})

    def _stepped(self, batch: Batch) -> Outputs:
        outputs = self.step(batch)
        if not isinstance(outputs, Mapping):
            raise UserError(
                f"{type(self).__qualname__}.step gives a {type(outputs).__qualname__}: give tensors by name, the "
                "loss as loss."
            )
        return outputs

    def _averaged(self, name: str, outputs: Outputs, batch: Batch) -> Tensor:
        """Return this process's part of the mean over a batch, of (B,), or of a mean () that each process has.

        Raises UserError as `_check`.
        """
        self._check(name, outputs, batch)
        values = outputs[name]
        return batch.share.mean(values.expand(max(batch.share.counted, 1)) if values.ndim == 0 else values)

    def _check(self, name: str, outputs: Outputs, batch: Batch) -> None:
        """Raise UserError for an output that is not there, or is neither a value an example nor one of the batch."""
        values = outputs.get(name)
        if values is None or values.shape not in ((), (len(batch.inputs),)):
            given = "nothing" if values is None else f"a tensor of {tuple(values.shape)}"
            raise UserError(
                f"{type(self).__qualname__}.step gives {given} as {name}: give a value for each of the "
                f"{len(batch.inputs)} examples, or one for the whole batch."
            )

    def configure_optimizers(self) -> Any:
        return self.optimisation.configure(self.rates(), self.trainer, self.monitor, self.monitor_mode)


def _with_draws(batch: Batch, part: Literal["train", "val", "test"], seed: int, step: int) -> Batch:
    return batch._replace(draws=Draws(part, seed, step, batch.share, batch.inputs.device))


class Pretext(Model):
    """What an encoder learns by, without labels."""

    def __init__(self, encoder: Encoder) -> None:
        super().__init__(encoder)
        # A bottleneck that hands the features on is no part to be trained.
        self.untrained = tuple(name for name in self.untrained if list(encoder.get_submodule(name).parameters()))
        for name in self.untrained:
            encoder.get_submodule(name).requires_grad_(False)


class Task(Model):
    """A carried (or fresh) encoder, and a head that reads its code. learns: the kind of its targets. names: what these
    are called, for sentences.

    What is frozen learns nothing, stays in eval mode and so keeps every buffer as it was. An encoder that is unfrozen
    gradually is not frozen by `requires_grad`: which parameters a process group reduces, and what a compiler traced,
    is decided when training begins. The gradients of its frozen layers are dropped instead.
    """

    learns: ClassVar[Literal["classes", "values", "labels"]] = "classes"
    arm: Arm = Arm()
    names: tuple[str, ...] = ()

    def __init__(self, encoder: Encoder, head: nn.Module, outputs: int) -> None:
        """outputs: how many numbers the head gives."""
        super().__init__(encoder)
        self.head, self.outputs = head, outputs
        # What a strategy wraps around them later leaves them as they are.
        self._layers = encoder.modules_of_layers()
        self._factors = [1.0] * len(self._layers)
        self.freeze_encoder = False
        self.frozen_layers: list[nn.Module] = []

    @classmethod
    @abstractmethod
    def outputs_for(cls, targets: Targets, data: str) -> int:
        """Return how many numbers the head has to give. data: what the data are called.

        Raises UserError for targets that the task can't learn.
        """

    def learn_from(self, targets: Tensor) -> None:
        """Take what a task needs to know of all training targets before it is trained, into buffers.

        targets: (N,) int64 of classes, (N, T) float32 of values or labels. Raises UserError for such as teach nothing.
        """

    def called(self, places: Sequence[int]) -> str:
        """List targets by their places among the data's. names: of the data's, where they are known."""
        return listed([self.names[place] if self.names else f"number {place}" for place in places], "in all")

    def because(self, part: Literal["val", "test"]) -> dict[str, str]:
        metrics = self.metrics_of(part).items()
        lacks = {name: each.lacks for name, each in metrics if isinstance(each, CheckedMetric) and each.lacks}
        return {
            name: f"is a mean over {self.learns}, and {part} has no example of {self.called(places)}"
            for name, places in lacks.items()
        }

    def example(self) -> Outputs:
        """Return tensors of a few examples as `step` gives them outside training, to try a config's metrics with."""
        return {}

    def add_metric(self, name: str, metric: ConfigMetric) -> None:
        super().add_metric(name, metric)
        # What a metric makes of the targets is known before an epoch is over.
        given, trial = self.example(), metric.make()
        asked = as_inputs(trial, self.metric_inputs)
        if given and set(asked.values()) <= set(given):
            with refusals_of(name):
                trial.update(**{argument: given[output] for argument, output in asked.items()})
                trial.compute()

    def follow(self, arm: Arm) -> None:
        """Freeze what an arm never trains. Raises UserError for an arm without a rate for each layer."""
        self.arm, self._factors = arm, rates_of(arm, len(self._layers))
        self.freeze_encoder = not any(self._factors)
        if self.freeze_encoder:
            self.encoder.requires_grad_(False)
        self.frozen_layers = self._frozen_in([True] * len(self._layers))
        for parameter in _own_parameters(self.frozen_layers):
            parameter.requires_grad_(False)
        self.train()

    def check_arm(self, epochs: float) -> None:
        """Raise UserError for an arm that does not say of each layer whether it is trained in an epoch."""
        for epoch in range(min(math.ceil(epochs), 1000)):
            trained_layers(self.arm, len(self._layers), epoch, epochs)

    def facts(self, name: str) -> ModelFacts:
        return super().facts(name).model_copy(update={"arm": summary_of(self.arm)})

    def train(self, mode: bool = True) -> "Task":
        super().train(mode)
        if self.freeze_encoder:
            self.encoder.eval()
        for module in self.frozen_layers:
            module.training = False
        return self

    def on_train_epoch_start(self) -> None:
        """Freeze what the arm does not train in this epoch: a function of the epoch, so a resume finds it."""
        epoch, epochs = self.trainer.current_epoch, epochs_of(self.trainer)
        frozen = self._frozen_in(trained_layers(self.arm, len(self._layers), epoch, epochs))
        if frozen != self.frozen_layers:
            self.frozen_layers = frozen
            self.train()

    def on_train_start(self) -> None:
        # A resume within an epoch starts no epoch.
        self.on_train_epoch_start()

    def _frozen_in(self, trains: list[bool]) -> list[nn.Module]:
        """Return the modules that get no update where the arm trains these layers."""
        each = zip(self._layers, self._factors, trains, strict=True)
        return [module for layer, factor, trained in each if not (factor and trained) for module in layer]

    def on_before_optimizer_step(self, optimizer: torch.optim.Optimizer) -> None:
        for module in self.frozen_layers:
            for parameter in module.parameters(recurse=False):
                parameter.grad = None

    def forward(self, inputs: Tensor) -> Tensor:
        """Map inputs (N, *input_shape) to what the head gives, (N, outputs)."""
        with torch.set_grad_enabled(torch.is_grad_enabled() and not self.freeze_encoder):
            codes = self.encoder(inputs)
        return self.head(codes)

    def rates(self) -> Rates:
        """Give each layer that is trained the encoder's learning rate times the arm's factor."""
        rates = dict(super().rates())
        if {*self._factors} <= {0, 1}:
            return rates
        _, rate = rates.pop("encoder")
        if rate is None:
            raise UserError("The arm's rates are factors of a learning rate: set optimizer.lr.")
        each = enumerate(zip(self._layers, self._factors, strict=True))
        own = {f"encoder_{place}": (_own_parameters(layer), rate * factor) for place, (layer, factor) in each}
        return {**own, **rates}


def how_many(task: type[Task], targets: Targets, data: str, does: str) -> int:
    """Return how many targets there are of the kind that a task learns.

    data: what they are called. does: what the task does with them. Raises UserError for others, and names our task that
    learns those.
    """
    if targets.kind == "none" or not targets.names:
        raise UserError(f"{data} has no labels, and {does}: choose other data.")
    if targets.kind != task.learns:
        raise UserError(f"{data} has {targets}, and {does}: choose model={LEARNT_BY[targets.kind]}.")
    return len(targets.names)


def _own_parameters(layer: Iterable[nn.Module]) -> list[nn.Parameter]:
    return [parameter for module in layer for parameter in module.parameters(recurse=False)]
