"""A transfer class by class, at its end: evaluation/classifier.json, as `evaluate evaluation=classifier` writes it."""

from pytorch_lightning import LightningModule, Trainer

from aetransfer.callbacks.looking import LookAtTheTest
from aetransfer.config.measures import Classification, Measures
from aetransfer.data.module import data_of
from aetransfer.evaluation.measures import taken
from aetransfer.evaluation.subject import Subject
from aetransfer.models.capabilities import Classifies
from aetransfer.runs.directory import RunDirectory


class ClassReport(LookAtTheTest):
    """Accuracy by class, confusions and calibration of the best epoch, on all test images.

    The first process looks at them and at the validation images, for the temperature, once more:
    trainer.limit_test_batches is not heeded.
    """

    needs = Classifies
    what = "The report by class"

    def look(self, trainer: Trainer, model: LightningModule) -> None:
        directory, architecture = RunDirectory(self.board.directory), dict(model.hparams["architecture"])
        job, data = directory.read_config(), data_of(trainer)
        subject = Subject(directory, job, model, data, "test", model.device, architecture)
        for measure, settings in Measures(classifier=Classification()).chosen().items():
            taken(subject, measure, settings)
