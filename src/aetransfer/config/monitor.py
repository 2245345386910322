"""Which validation metric chooses a model's best epoch, for what must know it without torch."""

from typing import Literal, NamedTuple


class Monitor(NamedTuple):
    metric: str
    mode: Literal["max", "min"]


# By which runs of a model are compared, too.
MONITORS = {
    "ae": Monitor("val/mse", "min"),
    "vae": Monitor("val/neg_elbo", "min"),
    "classifier": Monitor("val/acc", "max"),
}


def monitor_of(model: str, kl_weight: float = 1.0, free_bits: float = 0.0) -> Monitor:
    """Return what chooses the epoch: of a VAE that trains for another bound than the ELBO, what it trains for."""
    plain = kl_weight == 1 and free_bits == 0
    return MONITORS[model] if model != "vae" or plain else Monitor("val/loss", "min")
