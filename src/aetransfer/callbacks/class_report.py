"""A transfer class by class, at its end: evaluation/classifier.json, as `evaluate evaluation=classifier` writes it."""

from pytorch_lightning import LightningModule, Trainer

from aetransfer.callbacks.looking import LookAtTheTest
from aetransfer.config.nodes import Target
from aetransfer.data.module import data_of
from aetransfer.evaluation.measures import measures_of, taken
from aetransfer.evaluation.subject import Subject
from aetransfer.models.capabilities import Classifies
from aetransfer.runs.directory import RunDirectory

CLASSIFICATION = "aetransfer.evaluation.classification.Classification"


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
        (measure,) = measures_of({"classifier": Target.model_validate({"_target_": CLASSIFICATION})}, allow=())
        taken(subject, measure)
