"""The regressor: one value or several, learnt in deviations of the training targets and given in the targets' units."""

from collections.abc import Mapping
from typing import ClassVar, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torchmetrics import MeanSquaredError, Metric

from aetransfer.config.nodes import PositiveFloat
from aetransfer.data.batches import Batch
from aetransfer.data.targets import Targets
from aetransfer.errors import UserError
from aetransfer.models.base import Outputs, Task, how_many
from aetransfer.models.facts import Quantity
from aetransfer.models.metrics import R2, at_least_single
from aetransfer.models.split_metrics import CheckedMetric
from aetransfer.networks.encoder import Encoder


class Regressor(Task):
    """Values in units of their own. Each is standardised by its training targets, so that none outweighs another."""

    title = "regressor"
    summary = "An encoder and a head that learnt to predict values"
    learns = "values"
    mixes = True
    metrics: ClassVar[Mapping[str, Quantity]] = {
        "mae": Quantity("mean absolute error, in the unit of the value; of several values the mean"),
        "rmse": Quantity("root of the mean squared error, in the unit of the value; of several values the mean"),
        "r2": Quantity("R², the share of the variance that is predicted; of several values the mean", "higher"),
        "loss": Quantity("what is minimised, of standardised values", None),
    }
    metric_inputs: ClassVar[Mapping[str, str]] = {"preds": "values", "target": "targets"}
    mean: Tensor
    deviation: Tensor

    def __init__(
        self,
        encoder: Encoder,
        head: nn.Module,
        outputs: int,
        loss: Literal["mse", "huber"] = "mse",
        delta: PositiveFloat = 1.0,
    ) -> None:
        """delta: of huber, in deviations of the training targets; errors beyond it count linearly (Huber 1964)."""
        super().__init__(encoder, head, outputs)
        self.loss, self.delta = loss, delta
        self.register_buffer("mean", torch.zeros(outputs))
        self.register_buffer("deviation", torch.ones(outputs))

    @classmethod
    def outputs_for(cls, targets: Targets, data: str) -> int:
        return how_many(cls, targets, data, "a regressor predicts values")

    def learn_from(self, targets: Tensor) -> None:
        """Take the mean and deviation of each value. targets: (N, T) float32. Raises UserError for a constant one."""
        constant = targets.amax(0) == targets.amin(0)
        if constant.any():
            place = int(constant.nonzero()[0])
            raise UserError(
                f"All {len(targets):,} training examples have {self.called([place])}={targets[0, place]:g}: there is "
                "nothing to learn, leave this target out or choose other data."
            )
        # A float32 mean of values like 1013.25 would be off by more than they differ.
        deviation, mean = torch.std_mean(targets.double(), dim=0, correction=0)
        self.mean.copy_(mean)
        self.deviation.copy_(deviation)

    def values(self, inputs: Tensor) -> Tensor:
        return at_least_single(self(inputs)) * self.deviation + self.mean

    def step(self, batch: Batch) -> Outputs:
        outputs = at_least_single(self(batch.inputs))
        values = outputs * self.deviation + self.mean

        def loss_of(targets: Tensor) -> Tensor:
            wanted = (targets - self.mean) / self.deviation
            if self.loss == "huber":
                return F.huber_loss(outputs, wanted, delta=self.delta, reduction="none").mean(1)
            return F.mse_loss(outputs, wanted, reduction="none").mean(1)

        found = {
            "loss": batch.over_targets(loss_of),
            "mae": batch.over_targets(lambda targets: (values - targets).abs().mean(1)),
        }
        return found if self.training else found | {"values": _as_one(values), "targets": _as_one(batch.targets)}

    def whole_split(self) -> Mapping[str, Metric]:
        # The root of each value's, and then their mean.
        rmse = MeanSquaredError(squared=False, num_outputs=self.outputs)
        return {"rmse": CheckedMetric("rmse", rmse, self.outputs), "r2": R2()}

    def example(self) -> Outputs:
        values = torch.arange(4.0).view(4, 1).expand(4, self.outputs)
        return {"values": _as_one(values + 0.1 * values.square()), "targets": _as_one(values)}

    def because(self, part: Literal["val", "test"]) -> dict[str, str]:
        return super().because(part) | {
            name: f"has no value, as all {part} examples have the same {self.called(each.lacks)}"
            for name, each in self.metrics_of(part).items()
            if isinstance(each, R2) and each.lacks
        }

    def caveats(self) -> list[str]:
        if self.outputs == 1:
            return []
        return [
            f"mae and rmse are means over {self.outputs} values, each in its own unit. If the units differ, the value "
            "with the largest numbers decides: then compare r2."
        ]


def _as_one(values: Tensor) -> Tensor:
    """Return one value as (N,), as torchmetrics wants it."""
    return values.squeeze(1) if values.shape[1] == 1 else values
