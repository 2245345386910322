"""A transfer target by target, at its end: evaluation/classifier.json, regression.json or labels.json, as `evaluate`
writes them.
"""

from pytorch_lightning import LightningModule, Trainer

from aetransfer.callbacks.looking import LookAtTheTest
from aetransfer.config.nodes import Target
from aetransfer.data.module import data_of
from aetransfer.evaluation.measures import measures_of, taken
from aetransfer.evaluation.subject import Subject
from aetransfer.models.capabilities import capabilities_of
from aetransfer.runs.directory import RunDirectory

# By what a model does: what its measure is called, and its class.
MEASURES = {
    "classify": ("classifier", "aetransfer.evaluation.classification.Classification"),
    "regress": ("regression", "aetransfer.evaluation.regression.Regression"),
    "label": ("labels", "aetransfer.evaluation.labels.Labels"),
}


class ClassReport(LookAtTheTest):
    """Of the best epoch on all test examples: accuracy by class, confusions and calibration, or errors by value, or
    scores by label.

    The first process looks at them and, of classes, at the validation images, for the temperature, once more:
    trainer.limit_test_batches is not heeded.
    """

    what = "The report by class"

    def look(self, trainer: Trainer, model: LightningModule) -> None:
        can = [each for each in capabilities_of(model) if each in MEASURES]
        if not can:
            return
        name, kind = MEASURES[can[0]]
        directory, architecture = RunDirectory(self.board.directory), dict(model.hparams["architecture"])
        job, data = directory.read_config(), data_of(trainer)
        subject = Subject(directory, job, model, data, "test", model.device, architecture)
        (measure,) = measures_of({name: Target.model_validate({"_target_": kind})}, allow=())
        taken(subject, measure)
