"""A finished transfer as a plain module: images to the probabilities of its classes."""

from collections.abc import Sequence

from torch import Tensor, nn

from aetransfer.assemble import make_model, outputs_of
from aetransfer.data.targets import Targets
from aetransfer.errors import UserError
from aetransfer.measuring import outputs_of_head
from aetransfer.models.base import Model
from aetransfer.models.capabilities import Classifies
from aetransfer.networks.encoder import Encoder
from aetransfer.runs.directory import RunDirectory
from aetransfer.transfer.exported import load_weights, read_checkpoint
from aetransfer.transfer.loading import load_encoder


class Probabilities(nn.Module):
    """(N, C, S, S) in [0, 1] to (N, classes), as the run's own model gives them. encoder: as `load_encoder` has it."""

    def __init__(self, encoder: Encoder, model: Model) -> None:
        super().__init__()
        if not isinstance(model, Classifies):
            raise UserError(f"A {model.title} gives no probabilities of classes: embed gives its features.")
        self.encoder, self.model = encoder, model

    @classmethod
    def of(cls, directory: RunDirectory, classes: Sequence[str], allow: Sequence[str]) -> "Probabilities":
        """Load a run's best epoch. Raises UserError for a checkpoint that is damaged or has another head.

        classes: their names.
        """
        job = directory.read_config().model_copy(update={"allow": list(allow), "metrics": {}})
        assert job.head is not None, "a transfer has a head"
        content = read_checkpoint(directory.best)
        outputs = outputs_of_head(job.head, content)
        if outputs != outputs_of(job, Targets("classes", tuple(classes))):
            raise UserError(
                f"The head in {directory.best} is another than the one that {directory.config} and "
                f"{directory.encoder_card} describe, with {len(classes)} classes: they are not of one run."
            )
        # A stranger's config may ask for any network; the checkpoint's is no larger than its weights.
        encoder = load_encoder(directory.best, allow=allow)
        model = make_model(job, encoder, outputs, trains=False)
        load_weights(content, model, directory.best)
        return cls(encoder, model).eval()

    def forward(self, images: Tensor) -> Tensor:
        probabilities: Tensor = self.model.probabilities(images)
        return probabilities
