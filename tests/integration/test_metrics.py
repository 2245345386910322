"""Metrics that a config names beside the classifier's own: `metrics=auroc`."""

import json
import math

import pytest
import torch
from sklearn.metrics import balanced_accuracy_score, roc_auc_score, top_k_accuracy_score
from torchmetrics import Metric
from torchmetrics.classification import MulticlassAccuracy, MulticlassAUROC

import aetransfer
from aetransfer.models.classifier import Classifier
from aetransfer.models.split_metrics import CheckedMetric
from aetransfer.training.build import make_data
from tests.integration.conftest import TINY, assert_is_one_sentence, assert_refused, job_of
from tests.made import write_class_folder


class Sure(Metric):
    """How sure a classifier is, on average."""

    def __init__(self):
        super().__init__()
        self.add_state("total", torch.zeros(()), dist_reduce_fx="sum")
        self.add_state("count", torch.zeros(()), dist_reduce_fx="sum")

    def update(self, probabilities):
        self.total += probabilities.amax(1).sum()
        self.count += len(probabilities)

    def compute(self):
        return self.total / self.count


def nothing():
    """What a config may call, and is no metric."""


ALL = "metrics=[auroc,balanced_accuracy,top5]"
ALONE = (*TINY, "transfer=scratch")


def outputs(run, words, part):
    """Probabilities (N, 10) and labels (N,) of a part of a run's data, as its own best epoch gives them."""
    job = job_of(*words)
    data = make_data(job.data, job.seed, job.allow)
    data.setup("fit")
    if part == "test":
        data.setup("test")
    ((images, labels),) = data.in_order(part, data.count(part), torch.device("cpu"))
    with torch.no_grad():
        return aetransfer.load_classifier(run)(images).double().numpy(), labels.numpy()


def test_they_are_what_scikit_learn_computes_and_stand_beside_the_classifiers_own(run_train):
    done = run_train(*ALONE, ALL)

    assert done.code == 0, done.err
    for part in ("val", "test"):
        probabilities, labels = outputs(done.run, ALONE, part)
        probabilities /= probabilities.sum(1, keepdims=True)
        expected = {
            "auroc": roc_auc_score(labels, probabilities, multi_class="ovr"),
            "balanced_accuracy": balanced_accuracy_score(labels, probabilities.argmax(1)),
            "top5": top_k_accuracy_score(labels, probabilities, k=5),
        }
        for name, value in expected.items():
            assert done.result["metrics"][f"{part}/{name}"] == pytest.approx(value, abs=1e-5)
    told = done.result["model"]["metrics"]
    assert list(told) == ["acc", "f1", "nll", "ece", "auroc", "balanced_accuracy", "top5"]
    assert told["top5"] == {"words": "share of images whose class is among the five most probable", "better": "higher"}
    assert {"val/auroc", "val/top5"} <= set(json.loads((done.run / "history.json").read_text())[0])
    page, card = ((done.run / name).read_text() for name in ("report.html", "MODEL_CARD.md"))
    assert "area under the ROC curve" in page
    assert "| test/auroc |" in card


def test_they_change_no_bit_of_the_run_and_belong_to_no_identity(run_train, tmp_path):
    plain = run_train(*ALONE)
    looked_at = run_train(*ALONE, ALL, f"paths.output_dir={tmp_path / 'other'}")

    assert looked_at.run.name == plain.run.name and looked_at.run != plain.run
    assert (looked_at.run / "encoder.safetensors").read_bytes() == (plain.run / "encoder.safetensors").read_bytes()
    theirs = looked_at.result["metrics"]
    assert {name: theirs[name] for name in plain.result["metrics"]} == plain.result["metrics"]


@pytest.mark.slow
def test_a_finished_run_does_not_pretend_to_have_them_and_evaluate_measures_it(run_train, run_evaluate):
    plain = run_train(*ALONE)
    again = run_train(*ALONE, "metrics=[auroc,top5]")

    assert again.run == plain.run
    assert "auroc" not in again.result["model"]["metrics"]
    said = f"{plain.run.name} was made without metrics.auroc and metrics.top5: python -m aetransfer.evaluate "
    assert f"{said}run={plain.run} metrics=[auroc,top5] measures it" in again.out
    measured = run_evaluate(f"run={plain.run}", "metrics=[auroc,top5]", "split=val")
    assert measured.code == 0, measured.err
    assert [line.split()[0] for line in measured.out.splitlines() if line.startswith("val/")] == [
        *("val/acc", "val/f1", "val/nll", "val/ece", "val/auroc", "val/top5")
    ]
    # The run has its own by the same name, of another number of classes.
    rerun = run_train(*ALONE, "metrics=top5", "rerun=true")
    assert f"test/top5           {rerun.result['metrics']['test/top5']!r}" in run_evaluate(f"run={rerun.run}").out
    assert "was made without metrics.top5" in run_train(*ALONE, "metrics=top5", "metrics.top5.top_k=3").out


def test_one_of_them_chooses_the_epoch_and_is_then_part_of_the_identity(run_train):
    done = run_train(*ALONE, "metrics=auroc", "model.monitor=val/auroc")
    weighted = run_train(*ALONE, "metrics=auroc", "metrics.auroc.average=weighted", "model.monitor=val/auroc")

    assert (done.result["model"]["monitor"], done.result["model"]["monitor_mode"]) == ("val/auroc", "max")
    epochs = json.loads((done.run / "history.json").read_text())
    assert done.result["metrics"]["val/auroc"] == max(row["val/auroc"] for row in epochs)
    assert weighted.run != done.run
    assert "chosen by val/auroc" in (done.run / "MODEL_CARD.md").read_text()


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["+metrics.acc={_target_: torchmetrics.classification.MulticlassAccuracy}"], "metrics.acc: the classifier has a metric of that name itself: choose another."),
        (["+metrics.kappa={_target_: torchmetrics.classification.MulticlassConfusionMatrix}"], "metrics.kappa gives a tensor of (10, 10), and a metric is one number: set its average."),
        ([f"+metrics.sure._target_={__name__}.Sure", "allow=[tests]", "model.monitor=val/sure"], "model.monitor=val/sure: its class does not say which way is better, add +metrics.sure.better=lower or higher."),
        ([f"+metrics.sure._target_={__name__}.nothing", "allow=[tests]"], f"_target_: {__name__}.nothing is no torchmetrics.Metric: subclass it."),
        (["+metrics.mse={_target_: torchmetrics.functional.mean_squared_error}"], "_target_: torchmetrics.functional.mean_squared_error is outside the packages that the metric of a config may come from (torchmetrics.classification, torchmetrics.regression, torchmetrics.segmentation): if it is yours, add allow=[torchmetrics] to the command line."),
        (["metrics=auroc", "metrics.auroc._target_=torchmetrics.classification.MulticlassAUROCC"], "_target_: torchmetrics.classification has no MulticlassAUROCC (did you mean MulticlassAUROC)."),
        (["metrics=auroc", "+metrics.auroc.num_classes=4"], "metrics.auroc has num_classes, which the data say: leave it out."),
        (["metrics=aurok"], "metrics=aurok is no choice of metrics (did you mean auroc): there are auroc, balanced_accuracy, top5."),
        (["metrics=auroc", "+metrics.auroc.better=up"], "metrics.auroc.better=up should be 'lower' or 'higher'."),
        (["+metrics.my-own={_target_: torchmetrics.classification.MulticlassAUROC}"], "metrics has my-own, which is no name: take letters, digits and _, and a letter first."),
        (["model=ae", "metrics=auroc"], "model=ae is a pretraining, so metrics=auroc has no meaning: leave it out."),
    ],
)  # fmt: skip
def test_what_can_be_no_metric_is_refused_in_a_sentence(run_train, words, sentence):
    words = words if words[0] == "model=ae" else [*ALONE, *words]
    assert_refused(run_train(*words), sentence)


@pytest.mark.parametrize(
    "words",
    [
        ["metrics=top5", "metrics.top5.top_k=11"],
        ["metrics=auroc", "+metrics.auroc.foo=4"],
        ["+metrics.top5={_target_: torchmetrics.classification.BinaryF1Score}"],
        ["+metrics.top5={_target_: torchmetrics.classification.F1Score, task: multiclas}"],
    ],
)
def test_what_torchmetrics_refuses_is_said_in_its_words_before_anything_is_trained(run_train, words):
    done = run_train(*ALONE, *words)

    assert_is_one_sentence(done.err)
    assert done.err.startswith(("error: metrics.top5: ", "error: metrics.auroc: ", "error: torchmetrics."))
    assert "epoch" not in done.out


def test_a_metric_of_ones_own_takes_what_the_step_gives_by_its_names(run_train):
    sure = f"+metrics.sure={{_target_: {__name__}.Sure, better: lower, words: mean largest probability}}"
    done = run_train(*ALONE, sure, "allow=[tests]", "model.monitor=val/sure")

    probabilities, _ = outputs(done.run, ALONE, "test")
    assert done.result["metrics"]["test/sure"] == pytest.approx(probabilities.max(1).mean(), abs=1e-5)
    assert done.result["model"]["monitor_mode"] == "min"
    assert done.result["model"]["metrics"]["sure"] == {"words": "mean largest probability", "better": "lower"}


def test_a_process_without_an_image_adds_nothing():
    probabilities, labels = torch.eye(10).softmax(1), torch.arange(10)
    for kind in (MulticlassAUROC, MulticlassAccuracy):
        metric = CheckedMetric("name", kind(10), 10)
        metric.update(preds=probabilities[:0], target=labels[:0])
        metric.update(preds=probabilities, target=labels)
        assert metric.compute() == pytest.approx(1)


def test_a_number_that_an_image_or_a_class_has_no_part_in_is_nan_and_said(run_train):
    done = run_train(*ALONE, ALL, "data.batch_size=5", "trainer.limit_test_batches=1")

    measured = done.result["metrics"]
    assert math.isnan(measured["test/auroc"]) and math.isnan(measured["test/balanced_accuracy"])
    assert not math.isnan(measured["test/top5"])
    said = "NaN: test/auroc is a mean over classes, and test has no example of "
    assert said in done.out and "some images are NaN" not in done.out
    assert "auroc" in done.result["model"]["metrics"]


def test_images_without_a_number_make_them_nan(finished, run_evaluate, monkeypatch):
    original = Classifier.forward
    first = torch.tensor([0])
    monkeypatch.setattr(
        Classifier, "forward", lambda self, inputs: original(self, inputs).index_fill(0, first, math.nan)
    )
    done = run_evaluate(f"run={finished}", ALL)

    names = ("acc", "f1", "nll", "ece", "auroc", "balanced_accuracy", "top5")
    assert f"NaN: {', '.join(f'test/{name}' for name in names)}. The model's outputs" in done.out


def test_five_of_fewer_classes_are_refused_before_anything_is_trained(run_train, tmp_path):
    write_class_folder(tmp_path / "photos" / "train", dict.fromkeys("abc", 8))
    write_class_folder(tmp_path / "photos" / "test", dict.fromkeys("abc", 2))
    few = ("data=image_folder", f"data.root={tmp_path / 'photos'}", "data.image_size=8", "encoder.widths=[4,4]")
    done = run_train(*few, "transfer=scratch", "encoder.latent_dim=4", "logger=none", "callbacks=none", "metrics=top5")

    assert_is_one_sentence(done.err)
    assert done.err.startswith("error: metrics.top5: ") and "5 and 3" in done.err


def test_a_pretraining_learns_no_labels_to_compare_with(finished_pretraining, run_evaluate):
    said = f"metrics: {finished_pretraining} is an autoencoder, which learns no labels: leave it out."
    assert_refused(run_evaluate(f"run={finished_pretraining}", "metrics=auroc"), said)


@pytest.mark.slow
def test_a_run_that_was_cut_off_within_an_epoch_goes_on_without_them_to_the_same_bits(
    run_train, interrupted_at, tmp_path
):
    plain = run_train(*ALONE, f"paths.output_dir={tmp_path / 'plain'}")
    with interrupted_at(step=5):
        assert run_train(*ALONE, ALL).code != 0
    resumed = run_train(*ALONE)

    assert (resumed.run / "encoder.safetensors").read_bytes() == (plain.run / "encoder.safetensors").read_bytes()
    assert resumed.result["metrics"] == plain.result["metrics"]


@pytest.mark.slow
def test_two_processes_give_the_numbers_of_one(run_train, run_evaluate):
    # Of 143 validation images the last batch has one, so that one of the processes has none.
    done = run_train(*ALONE, ALL, "data.batch_size=142", "trainer.max_epochs=1", "trainer=ddp_sim")

    assert done.code == 0, done.err
    assert done.result["counts"]["processes"] == 2
    told = {}
    for split in ("val", "test"):
        lines = run_evaluate(f"run={done.run}", f"split={split}").out.splitlines()
        told |= {name: float(value) for name, value in (line.split() for line in lines if line.startswith(f"{split}/"))}
    assert {"val/auroc", "test/balanced_accuracy"} <= set(told)
    assert done.result["metrics"] == pytest.approx(told, rel=1e-5)
