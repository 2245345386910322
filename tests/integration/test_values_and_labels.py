"""Transfers to values and to many labels, through the commands: trained, measured, predicted, and refused."""

import csv
import json
import math

import numpy as np
import pytest
from sklearn.metrics import average_precision_score, mean_absolute_error, r2_score, roc_auc_score

from aetransfer import predict
from aetransfer.config.nodes import ModelNode
from aetransfer.store.identity import config_digest
from hydra_plugins.aetransfer_sweepers import _monitor_for
from tests import targets
from tests.integration.conftest import TINY, assert_refused, job_of


def data(reader, *more):
    """The words that name a reader's data in `evaluate` and `predict`."""
    kept = ("data=", "data.", "allow=")
    return [*(word for word in targets.words(reader, model="ae") if word.startswith(kept)), *more]


def rows(path):
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def written(run, name):
    return json.loads((run / "evaluation" / f"{name}.json").read_text())


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    return f"paths.output_dir={tmp_path_factory.mktemp('store')}"


@pytest.fixture
def trained(run_train, store):
    """A run of the module's store: what others trained there is found."""

    def train(reader, *more, model):
        done = run_train(*targets.words(reader, store, *more, model=model))
        assert done.code == 0, done.err
        return done

    return train


def test_a_regressor_says_its_metrics_units_and_direction_and_chooses_by_the_error(trained):
    done = trained("discs", "trainer.max_epochs=4", model="regressor")

    told = done.result["model"]
    assert (told["monitor"], told["monitor_mode"], told["can"]) == ("val/mae", "min", ["regress"])
    assert [name for name, each in told["metrics"].items() if each["better"] == "lower"] == ["mae", "rmse"]
    epochs = [row["val/mae"] for row in json.loads((done.run / "history.json").read_text())]
    assert done.result["metrics"]["val/mae"] == min(epochs)
    assert json.loads((done.run / "encoder.json").read_text())["data"]["targets"] == {
        "kind": "values",
        "names": ["height", "depth"],
    }
    card = (done.run / "MODEL_CARD.md").read_text()
    assert "mae and rmse are means over 2 values, each in its own unit" in card
    assert _monitor_for(job_of(*targets.words("discs", model="regressor"))) == ("val/mae", "min")


def test_its_predictions_are_in_units_and_are_those_that_were_measured(trained, command, run_evaluate, tmp_path):
    done = trained("discs", "trainer.max_epochs=4", model="regressor")
    out = tmp_path / "predicted.csv"
    again = command(predict.main, f"run={done.run}", *data("discs"), f"out={out}")
    assert again.code == 0, again.err

    table = rows(out)
    assert list(table[0]) == ["image", "label_height", "label_depth", "predicted_height", "predicted_depth"]
    true, predicted = (
        np.array([[float(row[f"{what}_{name}"]) for name in targets.NAMES] for row in table])
        for what in ("label", "predicted")
    )
    assert 100 < predicted[:, 0].mean() < 110 and 0.001 < predicted[:, 1].mean() < 0.002
    measured = done.result["metrics"]
    assert measured["test/mae"] == pytest.approx(mean_absolute_error(true, predicted), rel=1e-4)
    assert measured["test/r2"] == pytest.approx(r2_score(true, predicted), abs=1e-3)
    shown = run_evaluate(f"run={done.run}", "allow=[tests]").out
    assert f"test/mae            {measured['test/mae']!r}" in shown

    assert run_evaluate(f"run={done.run}", "allow=[tests]", "evaluation=regression").code == 0
    height, depth, both = written(done.run, "regression")["rows"]
    assert height["mae"] == pytest.approx(np.abs(true - predicted)[:, 0].mean(), rel=1e-4)
    assert depth["r2"] == pytest.approx(r2_score(true[:, 1], predicted[:, 1]), abs=1e-3)
    assert height["mae_of_mean"] > 2 and both["mae"] == pytest.approx(measured["test/mae"], rel=1e-4)
    assert (done.run / "evaluation" / "regression-predicted.png").read_bytes().startswith(b"\x89PNG")


def test_other_data_are_measured_by_the_names_of_their_values(trained, run_evaluate):
    done = trained("discs", "trainer.max_epochs=4", model="regressor")
    run = f"run={done.run}"
    own = run_evaluate(run, *data("discs", "data.name=others"))
    turned = run_evaluate(run, *data("turned", "data.name=others"))

    assert turned.code == 0 and turned.out.splitlines()[-4:] == own.out.splitlines()[-4:]
    wanting = (
        "The run predicts height, depth, and few has no depth: it has height, give its targets the names of the run's."
    )
    assert_refused(run_evaluate(run, *data("discs", "+data.reader.values=1", "data.name=few")), wanting)
    for reader, kind in (("lamps", "3 labels"), ("sorts", "2 classes")):
        said = f"The run learnt 2 values, but {reader} has {kind}: choose other data."
        assert_refused(run_evaluate(run, *data(reader)), said)


def test_probes_read_values_beside_baselines_and_refuse_what_reads_none(trained, run_evaluate):
    done = trained("discs", "trainer.max_epochs=4", model="regressor")
    run = f"run={done.run}"
    shown = run_evaluate(run, "allow=[tests]", "evaluation=[probes,transferability]")

    assert shown.code == 0, shown.err
    probes = {(row["features"], row["layer"]): row for row in written(done.run, "probes")["rows"]}
    assert {"transfer", "random", "pixels", "pca"} == {features for features, _ in probes}
    # Both are linear in the pixels.
    assert probes["pixels", ""]["ridge_r2"] > 0.99 > probes["pixels", ""]["knn_r2"]
    assert 0 < probes["pixels", ""]["ridge_mae"] < probes["pixels", ""]["knn_mae"] < 1
    promised = written(done.run, "transferability")
    assert list(promised["bottleneck"]) == ["logme"] and "the H-score is of classes alone" in promised["notes"][0]
    refused = run_evaluate(run, "allow=[tests]", "evaluation=probes", "evaluation.probes.probes=[mlp]")
    assert_refused(
        refused, "evaluation.probes.probes: mlp does not read values, which discs has: choose of knn, ridge."
    )
    said = "evaluation=fid reads classes, and discs has 2 values: leave it out."
    pretrained = trained("discs", model="ae")
    assert_refused(run_evaluate(f"run={pretrained.run}", "allow=[tests]", "evaluation=fid"), said)


def test_a_multilabel_classifier_is_measured_label_by_label_and_says_which_never_occur(
    trained, command, run_evaluate, tmp_path
):
    done = trained("lamps", "trainer.max_epochs=4", model="multilabel")

    told = done.result["model"]
    assert (told["monitor"], told["monitor_mode"], told["can"]) == ("val/map", "max", ["label"])
    said = "test/map leaves out the labels that no test example has: never."
    assert said in told["caveats"] and said in (done.run / "MODEL_CARD.md").read_text()
    assert "Labels that all training examples have, or none, can't be learnt: never." in done.out
    out = tmp_path / "predicted.csv"
    assert command(predict.main, f"run={done.run}", *data("lamps"), f"out={out}").code == 0
    table = rows(out)
    assert list(table[0])[1:] == [f"{what}_{name}" for what in ("label", "p") for name in targets.LABELS]
    there, said = (
        np.array([[float(row[f"{what}_{name}"]) for name in targets.LABELS[:2]] for row in table])
        for what in ("label", "p")
    )
    assert done.result["metrics"]["test/map"] == pytest.approx(average_precision_score(there, said), abs=1e-5)

    assert run_evaluate(f"run={done.run}", "allow=[tests]", "evaluation=[labels,probes,transferability]").code == 0
    top, _, never, both = written(done.run, "labels")["rows"]
    assert top["auroc"] == pytest.approx(roc_auc_score(there[:, 0], said[:, 0]))
    assert never["ap"] is None and both["ap"] == pytest.approx(done.result["metrics"]["test/map"], abs=1e-5)
    probes = {row["features"]: row for row in written(done.run, "probes")["rows"]}
    assert probes["pixels"]["logistic"] == pytest.approx(1) == probes["pixels"]["knn"]
    assert list(written(done.run, "transferability")["bottleneck"]) == ["logme"]


@pytest.mark.parametrize(("reader", "model", "name"), [("discs", "regressor", "regression"), ("lamps", "multilabel", "labels")])  # fmt: skip
def test_the_callbacks_that_look_at_targets_look_or_stay_quiet(trained, reader, model, name):
    looked = ("callbacks=[default,probe]", "logger=tensorboard", "trainer.max_epochs=1")
    done = trained(reader, *looked, model=model)

    assert "Traceback" not in done.out + done.err and "could not" not in done.out
    assert written(done.run, name)["split"] == "test"
    heads = (done.run / "projector" / "classes.tsv").read_text().splitlines()[0].split("\t")
    assert (
        heads
        == {
            "discs": ["height", "predicted height", "depth", "predicted depth"],
            "lamps": ["top", "bottom", "never"],
        }[reader]
    )
    assert not (done.run / "mistakes.json").exists()
    pretrained = trained(reader, *looked, model="ae")
    curve = {"discs": "val/probe_r2", "lamps": "val/probe_map"}[reader]
    assert all(row[curve] <= 1 for row in json.loads((pretrained.run / "history.json").read_text()))


@pytest.mark.slow
def test_metrics_of_torchmetrics_take_values_and_labels(trained):
    own = "+metrics.{}={{_target_: torchmetrics.{}}}"
    regression = [own.format(name, f"regression.{kind}") for name, kind in (
        ("pearson", "PearsonCorrCoef"), ("concordance", "ConcordanceCorrCoef"), ("mean_absolute", "MeanAbsoluteError"),
    )]  # fmt: skip
    for values in (1, 2):
        done = trained("discs", f"+data.reader.values={values}", *regression, model="regressor")
        found = done.result["metrics"]
        assert -1 <= found["test/concordance"] <= 1 and -1 <= found["test/pearson"] <= 1
        assert found["test/mean_absolute"] == pytest.approx(found["test/mae"], rel=1e-4)
        assert done.result["model"]["metrics"]["mean_absolute"]["better"] == "lower"
    auroc = own.format("auroc", "classification.MultilabelAUROC")
    all_there = trained("lamps", "+data.reader.never=false", auroc, model="multilabel")
    lacks = trained("lamps", auroc, model="multilabel")

    assert 0 <= all_there.result["metrics"]["test/auroc"] <= 1
    assert math.isnan(lacks.result["metrics"]["test/auroc"])
    assert "NaN: test/auroc is a mean over labels, and test has no example of never." in lacks.out


@pytest.mark.slow
def test_what_never_varies_is_refused_in_training_and_has_no_r2_elsewhere(run_train, trained, run_evaluate):
    words = targets.words("discs", "+data.reader.constant=train", model="regressor")
    said = "All 86 training examples have height=104: there is nothing to learn, leave this target out or choose other data."
    assert_refused(run_train(*words), said)
    done = trained("discs", "+data.reader.constant=test", "evaluation=regression", model="regressor")

    assert math.isnan(done.result["metrics"]["test/r2"]) and done.result["metrics"]["test/mae"] > 0
    assert "NaN: test/r2 has no value, as all test examples have the same height." in done.out
    assert "for some images are NaN" not in done.out
    assert run_evaluate(f"run={done.run}", "allow=[tests]", "evaluation=[regression,probes]").code == 0
    height, depth, both = written(done.run, "regression")["rows"]
    assert height["r2"] is None is both["r2"] and depth["r2"] is not None


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (targets.words("discs", model="classifier"), "discs has 2 values, and a classifier tells two classes or more apart: choose model=regressor."),
        (targets.words("sorts", model="regressor"), "sorts has 2 classes, and a regressor predicts values: choose model=classifier."),
        (targets.words("lamps", model="regressor"), "lamps has 3 labels, and a regressor predicts values: choose model=multilabel."),
        (targets.words("discs", "data.labels_per_class=4", model="regressor"), "data.labels_per_class=4 counts images of a class, and these have 2 values: take data.train_fraction."),
        (targets.words("discs", "model.loss=mae", model="regressor"), "model.loss=mae should be 'mse' or 'huber'."),
        (targets.words("discs", "metrics=auroc", model="regressor"), None),
        ((*TINY, "transfer=scratch", "model.label_smoothing=1.5"), "model.label_smoothing=1.5 should be less than 1."),
    ],
)  # fmt: skip
def test_what_a_task_does_not_take_is_refused_in_a_sentence(run_train, words, sentence):
    done = run_train(*words)
    if sentence is None:
        assert done.code == 1 and done.err.startswith("error: metrics.auroc: ") and done.err.count("\n") == 1
    else:
        assert_refused(done, sentence)


@pytest.mark.slow
def test_weights_and_smoothing_make_another_run_and_no_other_digest(trained):
    plain, weighted, smooth = (
        trained("sorts", *more, "trainer.max_epochs=1", model="classifier")
        for more in ([], ["model.class_weights=balanced"], ["model.label_smoothing=0.1"])
    )
    assert len({plain.run, weighted.run, smooth.run}) == 3
    # The keys are newer than runs without them.
    job = job_of(*targets.words("sorts", model="classifier"))
    keys = job.model.model_dump(by_alias=True, exclude={"class_weights", "label_smoothing"})
    assert config_digest(job.model_copy(update={"model": ModelNode.model_validate(keys)})) == config_digest(job)


@pytest.mark.slow
def test_two_processes_measure_what_one_does(trained, run_evaluate):
    for reader, model in (("discs", "regressor"), ("lamps", "multilabel")):
        # Of 11 validation images the last batch has one, so that one of the processes has none.
        done = trained(
            reader,
            "data.batch_size=10",
            "data.val_fraction=0.115",
            "trainer.max_epochs=1",
            "trainer=ddp_sim",
            model=model,
        )
        lines = run_evaluate(f"run={done.run}", "allow=[tests]").out.splitlines()
        told = {name: float(value) for name, value in (line.split() for line in lines if line.startswith("test/"))}
        tested = {name: value for name, value in done.result["metrics"].items() if name.startswith("test/")}
        assert tested == pytest.approx(told, rel=1e-5)
