"""python -m aetransfer.predict: classes and probabilities of one's own images, by the names the classes had."""

import csv
import json
import shutil

import numpy as np
import pytest
from sklearn.metrics import confusion_matrix, recall_score

from aetransfer import predict
from tests.integration.conftest import TINY, assert_refused
from tests.made import write_class_folder


@pytest.fixture
def run_predict(command):
    return lambda *words: command(predict.main, *words)


def rows(path):
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


@pytest.mark.short
def test_predictions_on_the_runs_own_test_split_are_right_as_often_as_the_run_says(run_predict, finished, tmp_path):
    done = run_predict(f"run={finished}", "data=photo_digits", f"out={tmp_path}/p.csv")
    table = rows(tmp_path / "p.csv")

    assert done.code == 0
    assert len(table) == 360
    right = np.mean([row["predicted"] == row["label"] for row in table])
    assert right == pytest.approx(json.loads((finished / "result.json").read_text())["metrics"]["test/acc"], abs=1e-6)
    for row in table:
        probabilities = {key.removeprefix("p_"): float(value) for key, value in row.items() if key.startswith("p_")}
        assert sum(probabilities.values()) == pytest.approx(1, abs=1e-5)
        assert max(probabilities, key=probabilities.get) == row["predicted"]
        assert float(row["probability"]) == probabilities[row["predicted"]]


def test_accuracy_by_class_is_the_recall_of_these_predictions(run_predict, run_evaluate, finished, tmp_path):
    run = tmp_path / "runs" / finished.name
    shutil.copytree(finished, run)
    run_predict(f"run={run}", "data=photo_digits", f"out={tmp_path}/p.csv")
    run_evaluate(f"run={run}", "evaluation=classifier")
    table = rows(tmp_path / "p.csv")
    labels, predicted = [row["label"] for row in table], [row["predicted"] for row in table]
    *found, _ = json.loads((run / "evaluation/classifier.json").read_text())["rows"]
    names = [row["class"] for row in found]

    assert [row["acc"] for row in found] == pytest.approx(recall_score(labels, predicted, labels=names, average=None))
    counts = confusion_matrix(labels, predicted, labels=names)
    np.fill_diagonal(counts, 0)
    for place, row in enumerate(found):
        if "most often taken for" in row:
            assert counts[place, names.index(row["most often taken for"])] == counts[place].max() > 0
        else:
            assert counts[place].sum() == 0


def test_classes_have_the_names_of_the_folders_they_were_trained_on(run_train, run_predict, tmp_path):
    for split in ("train", "test"):
        write_class_folder(tmp_path / "pets" / split, {"cat": 8, "great dane": 8})
    words = ["data=image_folder", f"data.root={tmp_path}/pets", "data.image_size=16", "data.batch_size=4", *TINY[2:4]]
    run = run_train(*words, "transfer=scratch", "trainer.max_epochs=1", "logger=none", "callbacks=none").run
    write_class_folder(tmp_path / "mine", {"": 3}, size=20)
    done = run_predict(f"run={run}", f"images={tmp_path}/mine", f"out={tmp_path}/p.npz")

    assert done.code == 0, done.err
    table = np.load(tmp_path / "p.npz")
    assert table["columns"].tolist() == ["p_cat", "p_great dane"]
    assert set(table["predicted"]) <= {"cat", "great dane"}
    assert table["probabilities"].shape == (3, 2)


def test_a_pretraining_an_unfinished_run_and_one_without_its_parts_are_refused_before_torch_is_imported(
    torchless, finished, finished_pretraining, tmp_path
):
    words = [f"images={tmp_path}", f"out={tmp_path}/p.csv"]
    unfinished, weightless, nameless, mixed = (
        tmp_path / name for name in ("unfinished", "weightless", "nameless", "mixed")
    )
    for copy in (unfinished, weightless, nameless, mixed):
        shutil.copytree(finished, copy)
    (unfinished / "result.json").write_text('{"status": "running"}')
    (weightless / "checkpoints" / "best.ckpt").unlink()
    (nameless / "encoder.json").unlink()
    (mixed / "encoder.json").write_text("{")

    for run, sentence in (
        (finished_pretraining, "{} is a pretraining, which tells no classes apart: embed gives its features."),
        (unfinished, "{} has not finished: the command that began it goes on where it stopped."),
        (weightless, "{}/checkpoints/best.ckpt does not exist: nothing can be predicted without the run's weights."),
        (nameless, "{}/encoder.json does not exist: the run's classes have no names without it."),
        (tmp_path / "none", "{} is no run directory: it has no config.yaml."),
    ):
        done = torchless("predict", f"run={run}", *words)
        assert_refused(done, sentence.format(run))
        assert not done.torch
    assert torchless("predict", f"run={mixed}", *words).err.startswith(f"error: {mixed}/encoder.json is damaged (")


def test_classes_that_are_not_those_of_the_weights_are_refused(run_predict, finished, tmp_path):
    run = tmp_path / "run"
    shutil.copytree(finished, run)
    card = json.loads((run / "encoder.json").read_text())
    card["data"]["class_names"].append("11")
    (run / "encoder.json").write_text(json.dumps(card))
    done = run_predict(f"run={run}", "data=photo_digits", f"out={tmp_path}/p.csv")

    assert done.code == 1
    assert "with 11 classes: they are not of one run" in done.err
    assert not (tmp_path / "p.csv").exists()
