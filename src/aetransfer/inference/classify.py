"""A finished transfer as a plain module: images to the probabilities of its classes."""

from collections.abc import Sequence

from torch import Tensor, nn

from aetransfer.errors import UserError
from aetransfer.networks.encoder import Encoder
from aetransfer.networks.head import Head
from aetransfer.runs.directory import RunDirectory
from aetransfer.transfer.exported import read_checkpoint
from aetransfer.transfer.loading import load_encoder


class Probabilities(nn.Module):
    """(N, C, S, S) in [0, 1] to (N, classes), each row of which sums to one."""

    def __init__(self, encoder: Encoder, head: nn.Module) -> None:
        super().__init__()
        self.encoder, self.head = encoder, head

    @classmethod
    def of(cls, directory: RunDirectory, classes: int, allow: Sequence[str]) -> "Probabilities":
        """Load a run's best epoch. Raises UserError for a checkpoint that is damaged or has another head."""
        encoder = load_encoder(directory.best, allow=allow)
        hidden = directory.read_config().head
        assert hidden is not None, "a transfer has a head"
        head = Head(encoder.latent_dim, classes, hidden.hidden)
        state = read_checkpoint(directory.best)["state_dict"]
        weights = {key.removeprefix("head."): value for key, value in state.items() if key.startswith("head.")}
        try:
            head.load_state_dict(weights)
        except RuntimeError as error:
            raise UserError(
                f"The head in {directory.best} is another than the one that {directory.config} and "
                f"{directory.encoder_card} describe, with {classes} classes: they are not of one run."
            ) from error
        return cls(encoder, head).eval()

    def forward(self, images: Tensor) -> Tensor:
        return self.head(self.encoder(images)).softmax(1)
