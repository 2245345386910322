"""A finished transfer in anybody's program: its encoder and head, from inputs to what it predicts of them."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from aetransfer.config.instantiate import build, class_of_model
from aetransfer.config.schema import Job
from aetransfer.data.targets import Kind, Targets
from aetransfer.errors import UserError
from aetransfer.networks.encoder import Encoder
from aetransfer.store.directory import RunDirectory
from aetransfer.store.query import default_output_dir
from aetransfer.transfer.card import targets_predicted
from aetransfer.transfer.exported import load_weights, read_checkpoint
from aetransfer.transfer.loading import load_encoder, make_head, outputs_of_head

# What a model predicts by the kind of its targets (see `aetransfer.models.capabilities`), and what a sentence calls it.
METHODS: dict[Kind, tuple[str, str]] = {
    "classes": ("probabilities", "probabilities of classes"),
    "values": ("values", "values"),
    "labels": ("label_probabilities", "probabilities of labels"),
}
# Their classes import Lightning, which takes seconds, and what they predict of the head's outputs is a line.
OURS = {
    f"aetransfer.models.{name}" for name in ("classifier.Classifier", "regressor.Regressor", "multilabel.MultiLabel")
}


class Predictor(nn.Module):
    """Inputs (N, *input_shape) to probabilities of classes (N, classes), values in their units (N, T), or the
    probability of each label (N, T).

    kind: classes, values or labels. names: what these are called, in the order of the columns. encoder: as
    `load_encoder` gives it. preprocess: the encoder's, of one that takes square pixel images; else None.
    """

    def __init__(self, encoder: Encoder, targets: Targets) -> None:
        super().__init__()
        self.encoder, self.kind, self.names = encoder, targets.kind, targets.names
        self.preprocess = getattr(encoder, "preprocess", None)

    def predict(self, inputs: Tensor) -> list[str] | list[list[str]] | Tensor:
        """Return the likeliest class of each input by name, the labels with a probability of .5 or more, or values."""
        predicted: Tensor = self(inputs).detach()
        if self.kind == "classes":
            return [self.names[place] for place in predicted.argmax(1).tolist()]
        if self.kind == "values":
            return predicted
        return [
            [name for name, there in zip(self.names, row, strict=True) if there] for row in (predicted >= 0.5).tolist()
        ]


class _OfOurs(Predictor):
    """The encoder with the head; a regressor's mean and deviation are buffers."""

    mean: Tensor
    deviation: Tensor

    def __init__(self, encoder: Encoder, head: nn.Module, targets: Targets, content: dict[str, Any]) -> None:
        super().__init__(encoder, targets)
        self.head = head
        for name in ("mean", "deviation") if self.kind == "values" else ():
            self.register_buffer(name, content["state_dict"][name])

    def forward(self, inputs: Tensor) -> Tensor:
        outputs: Tensor = self.head(self.encoder(inputs))
        match self.kind:
            case "classes":
                return outputs.softmax(1)
            case "labels":
                return outputs.sigmoid()
        return outputs * self.deviation + self.mean


class _OfOnesOwn(Predictor):
    """A task of somebody's own, which says itself what it predicts."""

    def __init__(self, model: nn.Module, encoder: Encoder, targets: Targets, method: str) -> None:
        super().__init__(encoder, targets)
        self.model, self.method = model, method

    def forward(self, inputs: Tensor) -> Tensor:
        predicted: Tensor = getattr(self.model, self.method)(inputs)
        return predicted


def load_classifier(run: str | Path, *, allow: Sequence[str] = ()) -> Predictor:
    """Load a finished transfer's best epoch, of any task, on the CPU and in eval mode.

    run: its directory, or its name in the store (AETRANSFER_OUTPUT_DIR, else outputs). allow: as in `load_encoder`.

    Needed are config.yaml, encoder.json, result.json and checkpoints/best.ckpt; nothing that is stored in them is run.
    Inputs are as `load_encoder` says: they are normalised by the model.

    Raises UserError for a pretraining, an unfinished run, one whose files are missing, damaged or not of one run, or a
    class outside the allowed packages.
    """
    given = Path(run).expanduser()
    stored = default_output_dir() / "runs" / given
    directory = RunDirectory.existing(given if given.exists() or not stored.exists() else stored)
    targets = targets_predicted(directory)
    job = directory.read_config().model_copy(update={"allow": list(allow)})
    assert job.head is not None, "a transfer has a head"
    content = read_checkpoint(directory.best)
    outputs = outputs_of_head(job.head, content)
    # A stranger's config may ask for any network; the checkpoint's is no larger than its weights.
    encoder = load_encoder(directory.best, allow=allow)
    if outputs != _outputs_for(job, targets):
        raise UserError(
            f"The head in {directory.best} is another than the one that {directory.config} and "
            f"{directory.encoder_card} describe, with {targets}: they are not of one run."
        )
    head = make_head(job, encoder.latent_dim, outputs)
    network: Predictor
    if job.model.target in OURS:
        network = model = _OfOurs(encoder, head, targets, content)
    else:
        model = build(job.model, "model", allow, encoder=encoder, head=head, outputs=outputs)
        method, called = METHODS[targets.kind]
        if not hasattr(model, method):
            raise UserError(f"A {model.title} gives no {called}: embed gives its features.")
        network = _OfOnesOwn(model, encoder, targets, method)
    load_weights(content, model, directory.best)
    return network.eval()


def _outputs_for(job: Job, targets: Targets) -> int:
    if job.model.target in OURS:
        return len(targets.names)
    outputs: int = class_of_model(job.model.target, job.allow).outputs_for(targets, job.data.name)  # type: ignore[attr-defined]
    return outputs
