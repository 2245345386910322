"""The multilabel classifier: of each label whether it is there, whatever the others are."""

import logging
from collections.abc import Mapping
from typing import ClassVar, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torchmetrics import Metric

from aetransfer.data.batches import Batch
from aetransfer.data.targets import Targets
from aetransfer.errors import UserError
from aetransfer.models.base import Outputs, Task, how_many
from aetransfer.models.facts import Quantity
from aetransfer.models.metrics import LabelF1, MeanAveragePrecision, at_least_single
from aetransfer.networks.encoder import Encoder

log = logging.getLogger(__name__)


class MultiLabel(Task):
    """Binary cross-entropy of each label, by a head on the encoder's code."""

    title = "multilabel classifier"
    summary = "An encoder and a head that learnt which labels are there"
    learns = "labels"
    mixes = True
    metrics: ClassVar[Mapping[str, Quantity]] = {
        "map": Quantity("mAP, average precision, mean over the labels that occur", "higher"),
        "f1": Quantity("F1 at a probability of 0.5, mean over the labels that occur or are predicted", "higher"),
        "nll": Quantity("binary cross-entropy, nats a label"),
    }
    metric_inputs: ClassVar[Mapping[str, str]] = {"preds": "probabilities", "target": "labels"}
    weights: Tensor

    def __init__(
        self,
        encoder: Encoder,
        head: nn.Module,
        outputs: int,
        positive_weights: Literal["balanced"] | None = None,
    ) -> None:
        """positive_weights: balanced, an example with a label counts as often as there are examples without it for each
        one with it, in its loss alone.
        """
        super().__init__(encoder, head, outputs)
        self.balanced = positive_weights == "balanced"
        # Of the training targets, which a resume gives anew.
        self.register_buffer("weights", torch.ones(outputs), persistent=False)

    @classmethod
    def outputs_for(cls, targets: Targets, data: str) -> int:
        return how_many(cls, targets, data, "a multilabel classifier tells which of several labels are there")

    def learn_from(self, targets: Tensor) -> None:
        """Count each label. targets: (N, T) of 0 and 1. Raises UserError where none of them varies."""
        positives = targets.sum(0)
        constant = (positives == 0) | (positives == len(targets))
        if constant.all():
            raise UserError(
                f"Each label is there in all {len(targets):,} training examples or in none: there is nothing to learn, "
                "choose other data."
            )
        if constant.any():
            names = self.called(constant.nonzero().flatten().tolist())
            log.warning("Labels that all training examples have, or none, can't be learnt: %s.", names)
        if self.balanced:
            self.weights.copy_(((len(targets) - positives) / positives).where(~constant, 1.0))

    def label_probabilities(self, inputs: Tensor) -> Tensor:
        return self(inputs).sigmoid()

    def step(self, batch: Batch) -> Outputs:
        logits = at_least_single(self(batch.inputs))

        def entropy(weights: Tensor | None) -> Tensor:
            return batch.over_targets(
                lambda targets: F.binary_cross_entropy_with_logits(
                    logits, targets, reduction="none", pos_weight=weights
                ).mean(1)
            )

        nll = entropy(None)
        found = {"loss": entropy(self.weights) if self.balanced else nll, "nll": nll}
        return found if self.training else found | {"probabilities": logits.sigmoid(), "labels": batch.targets.long()}

    def whole_split(self) -> Mapping[str, Metric]:
        return {"map": MeanAveragePrecision(self.outputs), "f1": LabelF1(self.outputs)}

    def example(self) -> Outputs:
        labels = torch.tensor([[0], [1]]).expand(2, self.outputs)
        return {"probabilities": 0.25 + labels / 2, "labels": labels}

    def because(self, part: Literal["val", "test"]) -> dict[str, str]:
        because = super().because(part)
        if len(self._lacks(part)) == self.outputs:
            because["map"] = f"has no value, as no {part} example has a label"
        return because

    def _lacks(self, part: Literal["val", "test"]) -> list[int]:
        return next(each.lacks for each in self.metrics_of(part).values() if isinstance(each, MeanAveragePrecision))

    def caveats(self) -> list[str]:
        parts: tuple[Literal["val", "test"], ...] = ("val", "test")
        return [
            f"{part}/map leaves out the labels that no {part} example has: {self.called(places)}."
            for part in parts
            if (places := self._lacks(part))
        ]
