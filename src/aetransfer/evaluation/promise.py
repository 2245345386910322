"""What an encoder promises for a data set before anything is trained on it, layer by layer."""

from typing import Annotated

import torch
from pydantic import Field
from torch.nn import functional as F

from aetransfer.config.nodes import PositiveInt, Seed
from aetransfer.config.schema import GivenEncoder
from aetransfer.data.seeds import mixed_seed
from aetransfer.evaluation.encoders import fitted
from aetransfer.evaluation.features import Scale, extracted, layer
from aetransfer.evaluation.measure import Measure
from aetransfer.evaluation.outcome import Cell, Outcome
from aetransfer.evaluation.subject import Subject
from aetransfer.evaluation.transferability import h_score, logme, shrunk_h_score
from aetransfer.networks.encoder import Encoder
from aetransfer.transfer.beginning import begin_, make_arm

BATCH = 500
SCORES = ("logme", "h_score", "shrunk_h_score")
# What the note says, by the kind of targets.
ONE = {"classes": "class", "values": "value, of standardised values", "labels": "label"}
OF_CLASSES = "the H-score is of classes alone"
H_SCORES = {
    "classes": "h_score: at most the classes less one (Bao et al. 2019), which many features of few examples reach by "
    "chance; shrunk_h_score takes that back (Ibrahim et al. 2022)",
    "values": OF_CLASSES,
    "labels": OF_CLASSES,
}


class Transferability(Measure):
    """LogME and, of classes, H-score of the encoder that is carried, on training examples of the data."""

    needs_labels = ("classes", "values", "labels")
    needs_memory = ("images", "max_features")

    def __init__(
        self, images: Annotated[PositiveInt, Field(ge=2)] = 10000, max_features: PositiveInt = 512, seed: Seed = 0
    ) -> None:
        self.images, self.max_features, self.seed = images, max_features, seed

    def __call__(self, subject: Subject) -> Outcome:
        """Score the encoder a transfer started from (a pretraining's own) on labelled training images of the data.

        Raises UserError where the source can't be read any more, or for data of one class.
        """
        subject.open("train")
        if (kind := subject.data.targets.kind) == "classes":
            subject.check_classes(self.name)
        # With the run's own seed the random encoder would be the one that a control began with.
        random = subject.random_encoder(mixed_seed("measure", self.seed, 0))
        encoders = {"carried": _carried(subject), "random": random}
        rows: list[dict[str, Cell]] = []
        for name, encoder in encoders.items():
            with torch.no_grad():
                image = fitted(subject.data.first_inputs("train", 1).to(subject.device), encoder)
                layers = list(encoder.layer_outputs(image))
            rows += [{"encoder": name, "layer": each, **_scores(subject, encoder, each, self)} for each in layers]
        (bottleneck,) = [row for row in rows if (row["encoder"], row["layer"]) == ("carried", "bottleneck")]
        return Outcome(
            rows,
            facts={"bottleneck": {score: bottleneck[score] for score in SCORES if score in bottleneck}},
            notes=[
                f"{self.images} training {subject.data.noun} of {subject.job.data.name} at most, none of val or test. "
                f"logme: log evidence, nats an example and {ONE[kind]} (You et al. 2021); {H_SCORES[kind]}. Larger is "
                "better; over a sweep, aetransfer.report sets them beside the metric that was reached."
            ],
        )


def _carried(subject: Subject) -> Encoder:
    """Return what the transfer began with: after fine-tuning, the run's own encoder has seen the labels."""
    if subject.job.stage == "pretrain":
        return subject.encoder
    encoder = subject.random_encoder(subject.job.seed)
    assert subject.job.transfer is not None
    arm = make_arm(subject.job.transfer, subject.job.allow)
    given = subject.job.pretrain if isinstance(subject.job.pretrain, GivenEncoder) else None
    begin_(encoder.cpu(), subject.source, arm, subject.job.seed, given)
    return encoder.to(subject.device)


def _scores(subject: Subject, encoder: Encoder, name: str, settings: Transferability) -> dict[str, Cell]:
    extract = layer(encoder, name, settings.max_features)
    features, targets = extracted(
        lambda images: extract(fitted(images, encoder)),
        subject.data.in_order("train", BATCH, subject.device, settings.images),
    )
    row: dict[str, Cell] = {"size": features.shape[1]}
    match subject.data.targets.kind:
        case "classes":
            one_hot = F.one_hot(targets, subject.classes)
            scores = {"h_score": h_score(features, targets), "shrunk_h_score": shrunk_h_score(features, targets)}
            return row | {"logme": logme(features, one_hot)} | scores
        case "values":
            # In other units the evidence would be another.
            targets = Scale(targets.double())(targets)
    return row | {"logme": logme(features, targets)}
