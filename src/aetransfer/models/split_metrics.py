"""What is measured over a whole split: a model's own metrics, and those that a config names beside them.

Two things make torchmetrics' numbers quietly wrong, and NaN here: an input that is NaN, and a class, or one of many
labels, without examples in a mean over them (torchmetrics takes its share for 0 or leaves it out).
"""

import inspect
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torchmetrics import MeanMetric, Metric

from aetransfer.config.instantiate import bind
from aetransfer.config.nodes import MetricNode
from aetransfer.config.signatures import OFFERED
from aetransfer.errors import UserError
from aetransfer.models.facts import Quantity


class ConfigMetric(NamedTuple):
    """quantity: what it is in words, and which way is better. make: returns a new metric."""

    quantity: Quantity
    make: Callable[[], "CheckedMetric"]


def config_metric(name: str, node: MetricNode, outputs: int, allow: Sequence[str]) -> ConfigMetric:
    """Return a metric of a config. outputs: how many numbers the head gives: classes, labels or values.

    Raises UserError for what is no metric, or refuses its keys.
    """
    call = bind(node, "metric", allow)
    if not (isinstance(call.func, type) and issubclass(call.func, Metric)):
        raise UserError(f"_target_: {node.target} is no torchmetrics.Metric: subclass it.")
    takes = inspect.signature(call.func).parameters
    classes = {key: outputs for key in OFFERED["metric"] if key in takes}

    def make() -> CheckedMetric:
        with refusals_of(name):
            return CheckedMetric(name, call(**classes), outputs)

    made = make().metric
    better = node.better
    if better is None and made.higher_is_better is not None:
        better = "higher" if made.higher_is_better else "lower"
    return ConfigMetric(Quantity(node.words or type(made).__name__, better), make)


@contextmanager
def refusals_of(name: str) -> Iterator[None]:
    """Raise a UserError for what a metric refuses: its keys, or what it is given."""
    try:
        yield
    except UserError:
        raise
    except (ValueError, TypeError, RuntimeError, ImportError) as error:
        raise UserError(f"metrics.{name}: {' '.join(str(error).split()).rstrip('.')}.") from error


class CheckedMetric(Metric):
    """A metric of torchmetrics, NaN where an input is, or a class of a mean is absent. lacks: those last found absent.

    Of several values it is the mean of each one's number.
    """

    full_state_update = False
    spoilt: Tensor
    examples: Tensor

    def __init__(self, name: str, metric: Metric, classes: int, needs_all: bool = True) -> None:
        """classes: how many there are, or labels, or values. needs_all: whether a mean over them is of all of them."""
        super().__init__()
        self.name, self.metric = name, metric
        self.averages = needs_all and getattr(metric, "average", None) == "macro"
        self.lacks: list[int] = []
        # Of values: torchmetrics gives the number of each.
        self.of_each = (getattr(metric, "num_outputs", 0),)
        self.add_state("spoilt", torch.zeros(()), dist_reduce_fx="sum")
        self.add_state("examples", torch.zeros(classes, dtype=torch.int64), dist_reduce_fx="sum")

    @property
    def inputs(self) -> list[str]:
        """What `update` takes, by name."""
        named = inspect.signature(self.metric.update).parameters.values()
        return [each.name for each in named if each.default is each.empty and each.kind is each.POSITIONAL_OR_KEYWORD]

    def update(self, **inputs: Tensor) -> None:
        """Add a batch: each (N, ...). N may be 0."""
        self.spoilt += sum(values.isnan().sum() for values in inputs.values() if values.is_floating_point())
        target = inputs.get("target")
        if self.averages and target is not None and not target.is_floating_point():
            classes = target[target >= 0].bincount(minlength=len(self.examples))[: len(self.examples)]
            self.examples += classes if target.ndim == 1 else target.sum(0)
        # Sums of nothing are 0 as they are.
        if any(map(len, inputs.values())) or keeps_lists(self.metric):
            self.metric.update(**inputs)

    def compute(self) -> Tensor:
        """Return the number of the whole split, (). Raises UserError where it is not one."""
        with warnings.catch_warnings():
            # Of classes without examples; what that means is said once, by `lacks`.
            warnings.simplefilter("ignore")
            value: Any = self.metric.compute()
        if isinstance(value, Tensor) and value.shape == self.of_each:
            value = value.mean()
        if not isinstance(value, Tensor) or value.numel() != 1:
            given = f"a tensor of {tuple(value.shape)}" if isinstance(value, Tensor) else f"a {type(value).__name__}"
            raise UserError(f"metrics.{self.name} gives {given}, and a metric is one number: set its average.")
        self.lacks = (self.examples == 0).nonzero().flatten().tolist() if self.averages else []
        good = self.spoilt == 0 if not self.lacks else torch.zeros_like(self.spoilt, dtype=torch.bool)
        return value.reshape(()).float().where(good, torch.nan)

    def reset(self) -> None:
        super().reset()
        self.metric.reset()


def keeps_lists(metric: Metric) -> bool:
    """Tell whether a metric keeps what it is given: processes put lists together, of which none may be missing."""
    return any(isinstance(state, list) for state in metric._defaults.values())


def as_inputs(metric: Metric, names: Mapping[str, str]) -> dict[str, str]:
    """Return by each argument of a metric's `update` the name of the step's output that it is.

    names: by argument, that output, where it is called otherwise.
    """
    arguments = (
        metric.inputs if isinstance(metric, CheckedMetric) else list(inspect.signature(metric.update).parameters)
    )
    return {argument: names.get(argument, argument) for argument in arguments}


class SplitMetrics(nn.Module):
    """The metrics of a split: means over examples, and what is none."""

    def __init__(
        self, quantities: Mapping[str, Quantity], whole: Mapping[str, Metric], names: Mapping[str, str] | None = None
    ) -> None:
        """quantities: all, by name. whole: those that are no means. names: see `as_inputs`."""
        super().__init__()
        self.measured = nn.ModuleDict(
            {name: whole.get(name) or MeanMetric(nan_strategy="disable") for name in quantities}
        )
        self.asks = {name: as_inputs(metric, names or {}) for name, metric in whole.items()}
        self.means = [name for name in quantities if name not in whole]

    def by_name(self) -> dict[str, Metric]:
        return {name: metric for name, metric in self.measured.items() if isinstance(metric, Metric)}

    def update(self, outputs: Mapping[str, Tensor], counted: int) -> None:
        """Add a batch, of which the first `counted` examples count."""
        for name, metric in self.by_name().items():
            if name in self.means:
                value = outputs[name]
                metric.update(value.expand(counted) if value.ndim == 0 else value[:counted])
            elif counted or isinstance(metric, CheckedMetric) or keeps_lists(metric):
                metric.update(**{key: outputs[output][:counted] for key, output in self.asks[name].items()})
