"""A transfer class by class, at its end: evaluation/classifier.json, as `evaluate evaluation=classifier` writes it."""

from pathlib import Path

from pytorch_lightning import Callback, LightningModule, Trainer

from aetransfer.config.measures import Classification
from aetransfer.data.module import data_of
from aetransfer.evaluation.measures import taken
from aetransfer.evaluation.subject import Subject
from aetransfer.models.classifier import Classifier
from aetransfer.runs.directory import RunDirectory
from aetransfer.sharded import is_sharded


class ClassReport(Callback):
    """Accuracy by class, confusions and calibration of the best epoch, on the test images that were just measured.

    The first process looks at them and at the validation images, for the temperature, once more.
    """

    def __init__(self, directory: str) -> None:
        self.directory = RunDirectory(Path(directory))

    def on_test_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if isinstance(pl_module, Classifier) and trainer.is_global_zero and not is_sharded(trainer):
            job, architecture = self.directory.read_config(), pl_module.hparams["architecture"]
            subject = Subject(
                self.directory, job, pl_module, data_of(trainer), "test", pl_module.device, dict(architecture)
            )
            taken(subject, "classifier", Classification())
