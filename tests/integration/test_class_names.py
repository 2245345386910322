"""A class is told by its name, wherever it stands among the names: measuring on other data never mixes classes up."""

import csv
import json
import shlex

import numpy as np
import pytest

from aetransfer import predict
from aetransfer.config.compose import checked, composed
from aetransfer.config.schema import EvaluationRequest
from aetransfer.data.examples import Examples
from aetransfer.data.readers.folder import read_folder
from aetransfer.data.targets import as_word, places_of
from aetransfer.errors import UserError
from aetransfer.training import stages
from tests.integration.conftest import assert_refused, job_of
from tests.made import write_image

SIZE = ("data.image_size=16",)
WORDS = ("data=image_folder", *SIZE, "data.augment.crop=null", "encoder.widths=[4,8]", "encoder.latent_dim=4",
         "transfer=scratch", "trainer.max_epochs=1", "data.epoch_images=800", "optimizer.lr=0.01", "data.batch_size=8", "logger=none")  # fmt: skip
REFUSED = (
    "The run's classes are dark, light, those of image_folder bright, dim: choose other data, or say which of the run's "
    "classes each one is with 'classes={bright: ..., dim: ...}'."
)


def write(root, dark, light, *others):
    """Write a train and a test split of a dark and a light class by these names; a class of other names is light too."""
    rng = np.random.default_rng(0)
    for part, count in (("train", 20), ("test", 10)):
        for name, least in ((dark, 20), (light, 120), *((other, 120) for other in others)):
            for number in range(count if name else 0):
                pixels = rng.integers(least, least + 80, size=(16, 16, 3), dtype=np.uint8)
                write_image(root / part / name / f"{number}.png", pixels)
    return ("data=image_folder", f"data.root={root}", *SIZE)


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A classifier that tells dark from light without an error. Nobody changes it."""
    root = tmp_path_factory.mktemp("lights")
    write(root / "own", "dark", "light")
    words = (*WORDS, f"data.root={root / 'own'}", "callbacks=none", f"paths.output_dir={root / 'outputs'}",
             f"paths.cache_dir={root / 'cache'}")  # fmt: skip
    done = stages.run(job_of(*words), list(words))
    assert done.result["metrics"]["test/acc"] == 1.0
    return done.directory.path


def turned(**arguments):
    """Read class folders with their classes in the order of their last letters, not of their first."""
    images = read_folder(**arguments)
    return Examples(images.inputs, 1 - images.targets, names=images.names[::-1])


def accuracy(done):
    assert done.code == 0, done.err
    (line,) = (line for line in done.out.splitlines() if line.startswith("test/acc"))
    return float(line.split()[1])


def by_class(run, name):
    found = json.loads((run / "evaluation" / f"{name}.json").read_text())
    return {row["class"]: row.get("acc") for row in found["rows"]}, found


def test_the_same_classes_in_another_order_are_told_by_their_names(run, run_evaluate, tmp_path):
    reader = ("data.name=turned", f"data.reader._target_={__name__}.turned", "allow=[tests]")
    other = (*write(tmp_path / "other", "dark", "light"), *reader)

    assert accuracy(run_evaluate(f"run={run}", *other)) == 1.0
    run_evaluate(f"run={run}", *other, "evaluation=classifier")
    assert by_class(run, "classifier-turned")[0] == {"dark": 1.0, "light": 1.0, "all": 1.0}


def test_other_names_are_refused_with_both_lists_and_how_to_say_which_is_which(run, run_evaluate, tmp_path):
    other = write(tmp_path / "other", "dim", "bright")

    assert_refused(run_evaluate(f"run={run}", *other), REFUSED)
    assert_refused(run_evaluate(f"run={run}", *other, "evaluation=classifier"), REFUSED)


def test_classes_says_which_of_the_runs_they_are(run, run_evaluate, tmp_path):
    other = (*write(tmp_path / "other", "dim", "bright"), "data.name=other")

    assert accuracy(run_evaluate(f"run={run}", *other, "classes={dim: dark, bright: light}")) == 1.0
    assert accuracy(run_evaluate(f"run={run}", *other, "classes={dim: light, bright: dark}")) == 0.0
    run_evaluate(f"run={run}", *other, "classes={dim: dark, bright: light}", "evaluation=classifier")
    rows, found = by_class(run, "classifier-other")
    assert rows == {"dark": 1.0, "light": 1.0, "all": 1.0}
    assert found["classes"] == {"dim": "dark", "bright": "light"}


def test_only_another_spelling_of_the_same_word_is_filled_in(run, run_evaluate, tmp_path):
    done = run_evaluate(f"run={run}", *write(tmp_path / "other", "Dark", "bright"))

    assert done.err.endswith("of the run's classes each one is with 'classes={Dark: dark, bright: ...}'.\n")


def test_several_classes_may_be_one_of_the_runs(run, run_evaluate, tmp_path):
    other = write(tmp_path / "other", "dark", "white", "pale")

    assert accuracy(run_evaluate(f"run={run}", *other, "classes={white: light, pale: light}")) == 1.0


def test_data_of_some_of_the_runs_classes_are_measured_with_a_word(run, run_evaluate, tmp_path):
    other = (*write(tmp_path / "other", "", "light"), "data.name=half")
    done = run_evaluate(f"run={run}", *other)

    assert accuracy(done) == 1.0
    assert "half has no class dark: metrics are of the images there are" in done.out
    run_evaluate(f"run={run}", *other, "evaluation=classifier")
    assert by_class(run, "classifier-half")[0] == {"dark": None, "light": 1.0, "all": 1.0}


@pytest.mark.parametrize(
    ("classes", "sentence"),
    [
        ("{dim: drak, bright: light}", "classes: the run has no class drak (did you mean dark), it has dark, light."),
        ("{dimm: dark, bright: light}", "classes: image_folder has no class dimm (did you mean dim), it has bright, dim."),
        ("{dim: dark}", REFUSED.replace("{bright: ..., dim: ...}", "{dim: dark, bright: ...}")),
        ("dark", "classes=dark should be a group of keys."),
    ],
)  # fmt: skip
def test_a_mapping_that_names_no_class_is_refused_with_the_nearest(run, run_evaluate, tmp_path, classes, sentence):
    other = write(tmp_path / "other", "dim", "bright")

    assert_refused(run_evaluate(f"run={run}", *other, f"classes={classes}"), sentence)


def test_a_mapping_that_nothing_reads_is_refused(run, run_evaluate, finished_pretraining):
    said = "which tells no classes apart: leave it out."
    pretraining = run_evaluate(f"run={finished_pretraining}", "classes={a: b}")
    assert_refused(pretraining, f"classes: {finished_pretraining} is an autoencoder, {said}")
    probes = run_evaluate(f"run={run}", "evaluation=probes", "classes={a: dark}")
    assert_refused(probes, "classes: these measures read the data's own classes, not those of the run: leave it out.")


def test_features_are_probed_on_data_of_any_classes(run, run_evaluate, tmp_path):
    other = write(tmp_path / "other", "dim", "bright", "glaring")
    few = ("evaluation.probes.probes=[knn]", "evaluation.probes.layers=[bottleneck]", "evaluation.probes.baselines=[]")

    assert run_evaluate(f"run={run}", *other, "evaluation=probes", *few).code == 0


@pytest.mark.parametrize(
    "mapping",
    [
        {"dim": "dark", "bright": "light"},
        {"fire truck": "lorry", "b-c": "x_1"},
        {"3": "8", "true": "no"},
        {"été": "verão", "a, b": "it's", "c:d": '"e"'},
        {"007": "1.50"},
    ],
)
def test_a_mapping_is_read_as_it_is_written_whatever_the_names(mapping):
    (word,) = shlex.split(as_word(mapping))

    assert checked(composed("evaluate", ["run=x", word]), EvaluationRequest).classes == mapping


def test_accents_that_a_system_keeps_apart_from_their_letters_are_no_other_name():
    composed_name, apart = "\u00e9t\u00e9", "e\u0301te\u0301"

    assert places_of(["bar", apart], [composed_name, "bar"], {}, "other") == [1, 0]
    assert places_of([apart], ["bar"], {composed_name: "bar"}, "other") == [0]
    with pytest.raises(UserError, match=r"say which of the run's classes each one is with 'classes=\{\+: \.\.\.\}'"):
        places_of(["+"], ["-"], {}, "other")


def test_a_run_from_before_class_names_were_kept_says_that_they_cannot_be_compared(run, run_evaluate, tmp_path):
    other, card = write(tmp_path / "other", "dim", "bright"), run / "encoder.json"
    kept = card.read_text()
    card.unlink()
    try:
        done = run_evaluate(f"run={run}", *other)
        refused = run_evaluate(f"run={run}", *other, "classes={dim: dark}")
        three = run_evaluate(f"run={run}", *write(tmp_path / "three", "dim", "bright", "glaring"))
    finally:
        card.write_text(kept)

    assert accuracy(done) == 0.0
    assert "The run does not say what its classes are called: image_folder's are taken in their order." in done.out
    assert_refused(refused, f"classes: {run} does not say what its classes are called, so none can be named.")
    assert_refused(three, "The run tells 2 classes apart, but image_folder has 3: choose other data.")


def test_classes_of_the_runs_own_data_that_were_renamed_since_are_noticed(run, run_evaluate):
    folder = next(path for path in run.parents if (path / "own").is_dir()) / "own"
    for part in ("train", "test"):
        (folder / part / "dark").rename(folder / part / "dim")
    try:
        done = run_evaluate(f"run={run}")
    finally:
        for part in ("train", "test"):
            (folder / part / "dim").rename(folder / part / "dark")

    assert done.code == 1
    assert "The run's classes are dark, light, those of image_folder dim, light" in done.err


def test_predictions_beside_labels_of_other_names_say_so(run, command, tmp_path):
    other = write(tmp_path / "other", "dim", "bright")
    done = command(predict.main, f"run={run}", *other, f"out={tmp_path / 'table.csv'}")

    with (tmp_path / "table.csv").open() as file:
        assert {(row["label"], row["predicted"]) for row in csv.DictReader(file)} == {
            ("dim", "dark"),
            ("bright", "light"),
        }
    assert "The labels are the classes of image_folder. bright, dim: the run has no such class" in done.out
