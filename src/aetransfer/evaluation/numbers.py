"""What is measured must be numbers: nearest neighbours, ranks and counts of NaN look like those of anything else."""

from torch import Tensor

from aetransfer.errors import UserError


class NoNumbersError(UserError):
    """A model's outputs are NaN or infinite, and nothing can be measured or drawn of them."""


def check_finite(outputs: Tensor) -> None:
    """Raise NoNumbersError where an input's outputs, a row of (N, ...), are not all finite."""
    good = outputs.isfinite().flatten(1).all(1)
    if not good.all():
        raise NoNumbersError(
            f"The model's outputs are NaN or infinite for {int((~good).sum())} of {len(good)} inputs: nothing can be "
            "measured of them."
        )
