"""Which validation metric chooses a model's best epoch, for what must know it without torch."""

from typing import Literal, NamedTuple


class Monitor(NamedTuple):
    metric: str
    mode: Literal["max", "min"]


MONITORS = {
    "ae": Monitor("val/mse", "min"),
    "vae": Monitor("val/neg_elbo", "min"),
    "classifier": Monitor("val/acc", "max"),
}
