"""TensorBoard's curves as one reads them: training and validation of a quantity in one chart, and no line twice."""

from pytorch_lightning import Callback, LightningModule, Trainer
from tensorboard.compat.proto.event_pb2 import Event, SessionLog

from aetransfer.callbacks.board import Board
from aetransfer.models.autoencoder import AutoEncoder
from aetransfer.models.classifier import Classifier
from aetransfer.models.vae import VAE

# What is measured in training and in validation alike, by the model's metrics.
PAIRED: dict[type[LightningModule], tuple[str, ...]] = {
    AutoEncoder: ("mse",),
    VAE: ("neg_elbo", "distortion", "rate"),
    Classifier: ("nll", "acc"),
}


class Curves(Callback):
    """Lay out the Custom Scalars tab, and take back what a run had logged of steps that it does again."""

    def __init__(self) -> None:
        self.board = Board("")

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self.board.follow(trainer)
        paired = next((names for kind, names in PAIRED.items() if isinstance(pl_module, kind)), ())
        charts = {name: ["Multiline", [f"train/{name}", f"val/{name}"]] for name in paired}
        if trainer.global_step and trainer.is_global_zero:
            self.board.write(Event(session_log=SessionLog(status=SessionLog.START)), trainer.global_step)
        for writer in self.board.writers if trainer.is_global_zero else ():
            writer.add_custom_scalars({"training and validation": charts})
