"""Folds and groups through the public commands."""

import json

import numpy as np
import pytest

from aetransfer import evaluate
from aetransfer.report import __main__ as report
from tests.integration.conftest import assert_refused

TINY = (
    *("data=arrays", "data.groups=subject", "encoder=mlp", "encoder.hidden=[8]", "encoder.latent_dim=4"),
    *("model=classifier", "trainer.max_epochs=1", "logger=none", "callbacks=none", "optimizer=adam"),
)


@pytest.fixture
def recordings(tmp_path):
    """Six subjects, ten recordings of each, of two classes."""
    rng, path = np.random.default_rng(0), tmp_path / "recordings.npz"
    vectors, classes = rng.normal(size=(60, 5)).astype(np.float32), np.arange(60) % 2
    np.savez(path, inputs=vectors, targets=classes, subject=np.arange(6).repeat(10))
    return path


def test_a_sweep_over_folds_tests_each_subject_once(run_train, command, recordings, tmp_path):
    words = (*TINY, f"data.root={recordings}", "data.folds=3")
    done = run_train(*words, "-m", "data.fold=0,1,2", "transfer=scratch")

    assert done.code == 0, done.err
    results = [json.loads(path.read_text()) for path in sorted((tmp_path / "outputs" / "runs").glob("*/result.json"))]
    assert [result["data"]["tested_on"] for result in results] == [f"fold {fold} of 3" for fold in range(3)]
    assert [result["data"]["groups"] for result in results] == [
        {"train": 3, "val": 1, "test": 2, "called": "subject"} for _ in range(3)
    ]
    assert [result["counts"]["test"] for result in results] == [20] * 3
    run = tmp_path / "outputs" / "runs" / results[1]["name"]
    card = (run / "MODEL_CARD.md").read_text()
    assert "No group (subject) is in two splits: 3 train, 1 val, 2 test." in card
    assert "the 20 vectors that were tested on, fold 1 of 3 of the training split, were used once" in card
    assert "tested on fold 1 of 3" in (run / "report.html").read_text()
    measured = command(evaluate.main, f"run={run}", f"paths.output_dir={tmp_path / 'outputs'}")
    assert measured.code == 0, measured.err
    assert f"{results[1]['metrics']['test/nll']}" in measured.out
    reported = command(report.main, str(tmp_path / "outputs"), "data.folds=3")
    assert "3 (3 folds)" in reported.out


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["data.fold=0"], "data has one of folds and fold: data.folds=5 data.fold=0 tests on the first of five parts."),
        (["data.folds=3", "data.fold=3"], "data has fold=3 of folds=3: they are called 0 to 2."),
        (
            ["data.folds=7", "data.fold=0"],
            "There are 6 groups (subject) to train on, fewer than data.folds=7: lower it.",
        ),
        (
            ["data.labels_per_class=2"],
            "data.labels_per_class=2 counts examples, and these come in groups (subject), which are kept whole: take data.train_fraction, which counts groups.",
        ),
        (
            ["data.folds=3", "data.fold=1", "transfer=finetune", "pretrain=ae", "data@pretrain.data=arrays"],
            "pretrain.data is of what data is, and the pretraining would see what data.folds=3 data.fold=1 tests on: set pretrain.data.folds=${data.folds} "
            "pretrain.data.fold=${data.fold} too, in quotes.",
        ),
    ],
)
def test_what_folds_and_groups_cannot_be_is_refused_in_a_sentence(run_train, recordings, words, said):
    root = [f"data.root={recordings}"]
    if "data@pretrain.data=arrays" in words:
        root += [f"pretrain.data.root={recordings}", "pretrain.data.groups=subject"]
    transfer = [] if any(word.startswith("transfer=") for word in words) else ["transfer=scratch"]
    assert_refused(run_train(*TINY, *root, *transfer, *words), said)


def test_a_pretraining_on_another_side_of_the_subjects_is_held_away_from_the_same_ones(run_train, tmp_path):
    """Where one subject lacks a class, folds follow the classes, and a source without them has others."""
    rng = np.random.default_rng(0)
    subject, classes, side = np.arange(6).repeat(20), np.arange(120) % 2, np.arange(120) // 10 % 2
    vectors = rng.normal(size=(120, 5)).astype(np.float32)

    def train(name, kept, *more):
        path = tmp_path / f"{name}.npz"
        np.savez(path, inputs=vectors[kept], targets=classes[kept], subject=subject[kept], side=side[kept])
        source = [f"pretrain.data.root={path}", "pretrain.data.where={side:1}", "pretrain.data.groups=subject"]
        words = [f"data.root={path}", "data.where={side:0}", "data.folds=3", "data.fold=1", "transfer=frozen"]
        given = ["pretrain=ae", "data@pretrain.data=arrays", "pretrain.trainer.max_epochs=1", *source]
        return run_train(*TINY, *words, *given, *more)

    assert_refused(
        train("all", subject >= 0),
        "pretrain.data is of what data is, and the pretraining would see what data.folds=3 data.fold=1 tests on: set "
        "pretrain.data.folds=${data.folds} pretrain.data.fold=${data.fold} too, in quotes.",
    )
    folds = ["pretrain.data.folds=3", "pretrain.data.fold=1"]
    assert train("all", subject >= 0, *folds).code == 0
    refused = train("some", (subject != 2) | (classes == 0) | (side == 1), *folds)
    assert "pretrain.data left out others, and the pretraining has seen some of these: give both" in refused.err
