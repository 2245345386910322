"""The classifier: cross-entropy of classes, by a head on the encoder's code."""

from collections.abc import Mapping
from typing import Annotated, ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional as F
from torchmetrics import Metric
from torchmetrics.classification import MulticlassF1Score

from aetransfer.data.batches import Batch
from aetransfer.data.targets import Targets
from aetransfer.errors import UserError
from aetransfer.models.base import Outputs, Task, how_many
from aetransfer.models.facts import Quantity
from aetransfer.models.metrics import CalibrationError, at_least_single
from aetransfer.models.split_metrics import CheckedMetric
from aetransfer.networks.encoder import Encoder


class Classifier(Task):
    """One class of several for each example."""

    title = "classifier"
    summary = "An encoder and a head that learnt to tell classes apart"
    mixes = True
    metrics: ClassVar[Mapping[str, Quantity]] = {
        "acc": Quantity("accuracy, the share that is classified rightly", "higher"),
        "f1": Quantity("F1, averaged over the classes", "higher"),
        "nll": Quantity("cross-entropy, nats an example"),
        "ece": Quantity("expected calibration error, 15 bins"),
    }
    metric_inputs: ClassVar[Mapping[str, str]] = {"preds": "probabilities", "target": "labels"}
    weights: Tensor

    def __init__(
        self,
        encoder: Encoder,
        head: nn.Module,
        outputs: int,
        class_weights: Literal["balanced"] | None = None,
        label_smoothing: Annotated[float, Field(ge=0, lt=1)] | None = None,
    ) -> None:
        """class_weights: balanced, each class weighs the same, however many examples it has. label_smoothing: the share
        of each target that is spread over all classes (Szegedy et al. 2016). Both change the loss alone.
        """
        super().__init__(encoder, head, outputs)
        self.balanced, self.smoothing = class_weights == "balanced", label_smoothing or 0.0
        # Of the training targets, which a resume gives anew.
        self.register_buffer("weights", torch.ones(outputs), persistent=False)

    @classmethod
    def outputs_for(cls, targets: Targets, data: str) -> int:
        does = "a classifier tells two classes or more apart"
        if (classes := how_many(cls, targets, data, does)) < 2:
            raise UserError(f"{data} has one class, {targets.names[0]!r}, and {does}: choose other data.")
        return classes

    def learn_from(self, targets: Tensor) -> None:
        if self.balanced:
            counts = targets.bincount(minlength=self.outputs).clamp_min(1)
            self.weights.copy_(len(targets) / (self.outputs * counts))

    def probabilities(self, inputs: Tensor) -> Tensor:
        return self(inputs).softmax(1)

    def step(self, batch: Batch) -> Outputs:
        logits, targets = self(batch.inputs), batch.main_targets

        def entropy(weights: Tensor | None, smoothing: float) -> Tensor:
            return batch.over_targets(
                lambda targets: F.cross_entropy(logits, targets, weights, reduction="none", label_smoothing=smoothing)
            )

        loss = nll = entropy(None, 0.0)
        if self.balanced or self.smoothing:
            loss = entropy(self.weights if self.balanced else None, self.smoothing)
        if self.training:
            return {"loss": loss, "nll": nll, "acc": (logits.argmax(1) == targets).float()}
        probabilities = at_least_single(logits).softmax(1)
        confidence, predicted = probabilities.max(1)
        right = (predicted == targets).float().where(~confidence.isnan(), torch.nan)
        return {"loss": loss, "nll": nll, "acc": right, "probabilities": probabilities, "labels": targets}

    def example(self) -> Outputs:
        rows = min(self.outputs, 8)
        return {"probabilities": torch.full((rows, self.outputs), 1 / self.outputs), "labels": torch.arange(rows)}

    def whole_split(self) -> Mapping[str, Metric]:
        # Over the classes that have examples or are predicted.
        f1 = CheckedMetric("f1", MulticlassF1Score(self.outputs, average="macro"), self.outputs, needs_all=False)
        return {"f1": f1, "ece": CalibrationError()}
