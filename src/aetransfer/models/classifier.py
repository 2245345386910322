"""The classifier: cross-entropy of classes, by a head on the encoder's code."""

from collections.abc import Mapping
from typing import ClassVar

import torch
from torch import Tensor
from torch.nn import functional as F
from torchmetrics import Metric

from aetransfer.data.batches import Batch
from aetransfer.data.targets import Targets
from aetransfer.errors import UserError
from aetransfer.models.base import Outputs, Task
from aetransfer.models.calibration import CalibrationError
from aetransfer.models.facts import Quantity
from aetransfer.models.further import Further, as_inputs, refusals_of
from aetransfer.models.metrics import MacroF1


class Classifier(Task):
    """One class of several for each example."""

    title = "classifier"
    mixes = True
    metrics: ClassVar[Mapping[str, Quantity]] = {
        "acc": Quantity("accuracy, the share of images that are classified rightly", "higher"),
        "f1": Quantity("F1, averaged over the classes", "higher"),
        "nll": Quantity("cross-entropy, nats an image"),
        "ece": Quantity("expected calibration error, 15 bins"),
    }
    metric_inputs: ClassVar[Mapping[str, str]] = {"preds": "probabilities", "target": "labels"}

    @property
    def summary(self) -> str:
        return "An encoder and a head that learnt to tell classes apart"

    @classmethod
    def outputs_for(cls, targets: Targets, data: str) -> int:
        names = targets.names
        if targets.kind not in ("classes", "none"):
            model = "regressor" if targets.kind == "values" else "multilabel"
            raise UserError(f"{data} has {targets}, and a classifier tells classes apart: choose model={model}.")
        if len(names) < 2:
            what = f"one class, {names[0]!r}" if names else "no labels"
            raise UserError(f"{data} has {what}, and a classifier tells two classes or more apart: choose other data.")
        return len(names)

    def probabilities(self, inputs: Tensor) -> Tensor:
        """Map inputs (N, *input_shape) to the probabilities of the classes, (N, classes)."""
        return self(inputs).softmax(1)

    def step(self, batch: Batch) -> Outputs:
        logits, targets = self(batch.inputs), batch.main_targets
        nll = batch.over_targets(lambda targets: F.cross_entropy(logits, targets, reduction="none"))
        if self.training:
            return {"loss": nll, "nll": nll, "acc": (logits.argmax(1) == targets).float()}
        # In half precision many a confidence would be rounded to 1.
        probabilities = logits.to(torch.promote_types(logits.dtype, torch.float32)).softmax(1)
        confidence, predicted = probabilities.max(1)
        right = (predicted == targets).float().where(~confidence.isnan(), torch.nan)
        return {"loss": nll, "nll": nll, "acc": right, "probabilities": probabilities, "labels": targets}

    def measure_also(self, name: str, metric: Further) -> None:
        super().measure_also(name, metric)
        # What a metric makes of classes is known before an epoch is over.
        rows = min(self.outputs, 8)
        given = {"probabilities": torch.full((rows, self.outputs), 1 / self.outputs), "labels": torch.arange(rows)}
        trial = metric.make()
        asked = as_inputs(trial, self.metric_inputs)
        if set(asked.values()) <= set(given):
            with refusals_of(name):
                trial.update(**{argument: given[output] for argument, output in asked.items()})
                trial.compute()

    def whole_split(self) -> Mapping[str, Metric]:
        return {"f1": MacroF1(self.outputs), "ece": CalibrationError()}
