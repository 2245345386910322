"""A finished transfer as a plain module: inputs to what its model predicts of them."""

from collections.abc import Sequence

from torch import Tensor, nn

from aetransfer.assemble import make_model, outputs_of
from aetransfer.data.targets import Targets
from aetransfer.errors import UserError
from aetransfer.measuring import outputs_of_head
from aetransfer.models.base import Model
from aetransfer.networks.encoder import Encoder
from aetransfer.runs.directory import RunDirectory
from aetransfer.transfer.exported import load_weights, read_checkpoint
from aetransfer.transfer.loading import load_encoder

# What a model predicts by the kind of its targets (see `aetransfer.models.capabilities`), and what a sentence calls it.
METHODS = {
    "classes": ("probabilities", "probabilities of classes"),
    "values": ("values", "values"),
    "labels": ("label_probabilities", "probabilities of labels"),
}


class Predictions(nn.Module):
    """Inputs (N, *shape) to what the run's own model predicts: probabilities of its classes (N, classes) or of its
    labels (N, T), or values (N, T) in their units. encoder: as `load_encoder` has it.
    """

    def __init__(self, encoder: Encoder, model: Model, targets: Targets) -> None:
        super().__init__()
        method, called = METHODS[targets.kind]
        if not hasattr(model, method):
            raise UserError(f"A {model.title} gives no {called}: embed gives its features.")
        self.encoder, self.model, self.method = encoder, model, method

    @classmethod
    def of(cls, directory: RunDirectory, targets: Targets, allow: Sequence[str]) -> "Predictions":
        """Load a run's best epoch. Raises UserError for a checkpoint that is damaged or has another head.

        targets: the run's.
        """
        job = directory.read_config().model_copy(update={"allow": list(allow), "metrics": {}})
        assert job.head is not None, "a transfer has a head"
        content = read_checkpoint(directory.best)
        outputs = outputs_of_head(job.head, content)
        if outputs != outputs_of(job, targets):
            raise UserError(
                f"The head in {directory.best} is another than the one that {directory.config} and "
                f"{directory.encoder_card} describe, with {targets}: they are not of one run."
            )
        # A stranger's config may ask for any network; the checkpoint's is no larger than its weights.
        encoder = load_encoder(directory.best, allow=allow)
        model = make_model(job, encoder, outputs, trains=False)
        load_weights(content, model, directory.best)
        return cls(encoder, model, targets).eval()

    def forward(self, inputs: Tensor) -> Tensor:
        predicted: Tensor = getattr(self.model, self.method)(inputs)
        return predicted
