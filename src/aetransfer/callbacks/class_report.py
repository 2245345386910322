"""A transfer class by class, at its end: evaluation/classifier.json, as `evaluate evaluation=classifier` writes it."""

from pytorch_lightning import Callback, LightningModule, Trainer

from aetransfer.callbacks.board import Board
from aetransfer.config.measures import Classification
from aetransfer.data.module import data_of
from aetransfer.evaluation.measures import taken
from aetransfer.evaluation.subject import Subject
from aetransfer.models.classifier import Classifier
from aetransfer.runs.directory import RunDirectory


class ClassReport(Callback):
    """Accuracy by class, confusions and calibration of the best epoch, on the test images that were just measured.

    The first process looks at them and at the validation images, for the temperature, once more.
    """

    def __init__(self, directory: str) -> None:
        self.board = Board(directory)

    def on_test_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if not isinstance(pl_module, Classifier) or not self.board.can_draw(trainer):
            return
        with self.board.drawing("The report by class", pl_module):
            directory, architecture = RunDirectory(self.board.directory), dict(pl_module.hparams["architecture"])
            job, data = directory.read_config(), data_of(trainer)
            subject = Subject(directory, job, pl_module, data, "test", pl_module.device, architecture)
            taken(subject, "classifier", Classification())
