"""A training that is over: what it left is loaded, all that goes with it is set up, and no step is done."""

from pytorch_lightning import Callback, LightningModule, Trainer


class NoTraining(Callback):
    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        # From here on Lightning heeds it before the first step. An epoch's number would not do: early stopping has
        # ended some trainings before their last one.
        trainer.should_stop = True
