"""Folders of images as people have them, through the commands: what is used, what is left out, and that it is said."""

import json
import os
import re
import shutil
import unicodedata
from pathlib import Path

import numpy as np
import pytest

from aetransfer import embed
from aetransfer.report import __main__ as report
from tests.integration.conftest import assert_refused
from tests.made import write_class_folder, write_image

SMALL = (
    *("data=image_folder", "data.image_size=8", "data.augment.crop=null", "encoder.widths=[4]"),
    *("encoder.latent_dim=4", "trainer.max_epochs=1", "trainer.accelerator=cpu", "trainer.progress=false"),
    *("logger=none", "callbacks=none"),
)


@pytest.fixture
def root(tmp_path):
    return tmp_path / "pets"


@pytest.fixture
def pretrain(run_train, root):
    return lambda *words: run_train(*SMALL, "model=ae", f"data.root={root}", *words)


@pytest.fixture
def classify(run_train, root):
    return lambda *words: run_train(*SMALL, "transfer=scratch", f"data.root={root}", *words)


def split(root, name, counts=None, seed=0):
    write_class_folder(root / name, counts or {"cat": 5, "dog": 5}, seed=seed)


def parts(done):
    assert done.code == 0, done.err
    return tuple(done.result["counts"][part] for part in ("train", "val", "test"))


def assert_said(done, sentence):
    """In the log, once and before any training, and in result.json."""
    log = (done.run / "train.log").read_text()
    assert log.count(sentence) == 1, log
    assert log.index(sentence) < log.index("epochs")
    assert sentence in done.result["data"]["notes"]


def test_images_in_folders_within_a_class_folder_are_images_of_that_class(classify, root):
    split(root, "train", {"cat": 3, "dog": 3})
    split(root, "test", {"cat": 2, "dog": 2}, seed=1)
    write_class_folder(root / "train" / "cat", {"tabby": 5}, seed=2)
    write_class_folder(root / "test" / "dog", {"poodle": 4}, seed=3)
    done = classify()

    assert parts(done) == (9, 2, 8)
    assert_said(
        done,
        "9 images lie in folders within a class's folder (train/cat/tabby, test/dog/poodle) and count as that class's.",
    )


def test_what_is_no_image_is_left_out_and_said_in_one_line(classify, root):
    split(root, "train")
    split(root, "test", seed=1)
    (root / "train" / "cat" / "Thumbs.db").write_bytes(b"\xd0\xcf\x11\xe0")
    (root / "train" / "dog" / "desktop.ini").write_text("[.ShellClassInfo]")
    (root / "test" / "dog" / "labels.csv").write_text("a,b")
    (root / "train" / "cat" / ".DS_Store").write_bytes(b"x")
    (root / "README.md").write_text("pets")
    write_class_folder(root / "train" / "cat", {"@eaDir": 2}, seed=2)
    write_image(root / "train" / "astray.png", np.zeros((8, 8, 3), np.uint8))
    done = classify()

    assert parts(done) == (8, 2, 10)
    assert_said(
        done,
        "Left out in pets: 3 files that are no images by their names (.db, .ini, .csv), 1 file or folder that a "
        "system keeps (@eaDir), 1 hidden file or folder, 1 image in no class's folder, 1 name that means no "
        "split (README.md).",
    )
    assert done.result["data"]["used"] == "Used: 8 train, 2 val, 10 test images of 2 classes."


@pytest.mark.parametrize("place", ["train/emu", "test/emu", "test", "train/cat/5.png", "train/cat/more"])
def test_a_link_to_what_is_not_mounted_is_refused(classify, root, place):
    split(root, "train")
    if place != "test":
        split(root, "test", seed=1)
    (root / place).symlink_to("/not/mounted/emu")

    assert_refused(
        classify(),
        f"{root}/{place} is a link to /not/mounted/emu, which is not there: mount the disk that holds it, or remove the "
        "link.",
    )


def test_several_links_to_what_is_not_mounted_are_counted(pretrain, root):
    split(root, "train")
    for number in range(5, 10):
        (root / f"train/cat/{number}.png").symlink_to(f"/not/mounted/{number}.png")

    assert_refused(
        pretrain(),
        f"{root}/train/cat/5.png is a link to /not/mounted/5.png, which is not there (1 of 5 such links): mount the "
        "disk that holds it, or remove the link.",
    )


def test_a_val_folder_is_the_validation_split_and_no_seed_changes_it(run_train, command, root):
    split(root, "train", {"cat": 6, "dog": 6})
    split(root, "val", {"cat": 4, "dog": 3}, seed=1)
    split(root, "test", {"cat": 2, "dog": 2}, seed=2)
    done = run_train(*SMALL, "-m", "seed=0,1", "model=ae", f"data.root={root}", "data.val_fraction=0.5")
    assert done.code == 0, done.err
    report = re.search(r"^report: (.*)/index.html$", done.out, re.MULTILINE)[1]
    runs = [path.parent for path in (root.parent / "outputs" / "runs").glob("*/result.json")]
    results = [json.loads((run / "result.json").read_text()) for run in runs]

    assert [[result["counts"][part] for part in ("train", "val", "test")] for result in results] == [[12, 7, 4]] * 2
    said = "Validation: the data's own 7 images for every seed; data.val_fraction does not apply."
    for run, result in zip(runs, results, strict=True):
        assert result["data"]["validation"] == "own"
        assert said in result["data"]["notes"]
        assert said in (run / "train.log").read_text()
        card = (run / "MODEL_CARD.md").read_text()
        assert "on the 7 images of the data's own validation split, the same for every seed" in card
        assert "validation images and label subsets" not in card
        assert "own validation split" in (run / "report.html").read_text()
    summary = Path(report, "summary.md").read_text()
    assert "In 2 of 2 runs validation is the data's own split: it does not vary with the seed." in summary


def test_labels_per_class_are_taken_out_of_train_alone_where_there_is_a_val_folder(classify, root):
    split(root, "train", {"cat": 6, "dog": 6})
    split(root, "valid", seed=1)
    split(root, "Test", seed=2)

    assert parts(classify("data.labels_per_class=2")) == (4, 10, 10)


def test_a_fifth_of_train_is_the_test_split_of_a_folder_with_train_and_val(classify, root):
    split(root, "train", {"cat": 10, "dog": 10})
    split(root, "val", seed=1)
    done = classify()

    assert parts(done) == (16, 10, 4)
    assert_said(done, "pets has no test folder: 4 of its 20 images are set aside as test.")


@pytest.mark.parametrize("other", ["test", "val"])
def test_images_of_train_that_are_in_test_or_val_too_are_counted_before_training(classify, root, other):
    split(root, "train")
    split(root, other, seed=1)
    shutil.copy(root / "train/cat/0000.png", root / other / "dog/0000.png")
    shutil.copy(root / "train/cat/0001.png", root / other / "cat/0001.png")
    name = {"test": "test", "val": "validation"}[other]

    assert_said(
        classify(),
        f"2 of the 10 {name} images are training images too, such as {other}/cat/0001.png, which is train/cat/0001.png: "
        f"{name} metrics are better for it than they should be.",
    )


def test_a_picture_that_lies_twice_in_train_is_noticed_where_one_is_set_aside_as_test(pretrain, root):
    split(root, "train", {"cat": 10})
    for path in list((root / "train" / "cat").iterdir()):
        shutil.copy(path, path.with_name(f"copy-{path.name}"))
    done = pretrain()

    assert parts(done) == (14, 2, 4)
    assert "of the 4 test images are training images too" in " ".join(done.result["data"]["notes"])


def test_an_accented_class_is_one_however_its_accent_is_written(classify, root):
    for form, name, seed in (("NFC", "train", 0), ("NFD", "test", 1)):
        split(root, name, {unicodedata.normalize(form, "caf\u00e9"): 3, "tea": 3}, seed)
    done = classify()

    assert parts(done) == (4, 2, 6)
    assert json.loads((done.run / "encoder.json").read_text())["data"]["class_names"] == ["caf\u00e9", "tea"]


class TestWithoutLabels:
    """Ten pictures, six of them straight in the folder."""

    @pytest.fixture(autouse=True)
    def pictures(self, root):
        write_class_folder(root, {"garden": 2, "garden/deep": 2})
        write_class_folder(root.parent, {"pets": 6}, seed=1)

    def test_a_source_without_a_train_folder_is_pretrained_on_and_tells_no_test_number(self, pretrain, root):
        done = pretrain()

        assert parts(done) == (9, 1, 0)
        assert_said(done, "pets has no train folder: all 10 images in it are used, without labels.")
        assert set(done.result["metrics"]) == {"val/mse"}
        assert done.result["data"]["used"] == "Used: 9 train, 1 val images without labels, no test split."
        card = (done.run / "MODEL_CARD.md").read_text()
        assert "there is no test split, so all numbers are of images that chose the epoch" in card
        page = (done.run / "report.html").read_text()
        assert "<h2>Final numbers</h2>" in page
        assert "evaluation=reconstruction split=val" in page

    def test_it_is_carried_to_a_target_with_labels(self, run_train, root, tmp_path):
        split(tmp_path / "target", "train")
        split(tmp_path / "target", "test", seed=1)
        done = run_train(
            *SMALL, "transfer=frozen", f"data.root={tmp_path}/target", "data@pretrain.data=image_folder",
            f"pretrain.data.root={root}", "pretrain.data.labels=none", "pretrain.data.image_size=8",
            "pretrain.trainer.max_epochs=1",
        )  # fmt: skip

        assert parts(done) == (8, 2, 10)
        source = json.loads((tmp_path / done.result["source"] / "result.json").read_text())
        assert source["counts"]["train"] == 9

    def test_it_is_measured_on_validation_and_what_needs_labels_or_a_test_split_is_refused(
        self, pretrain, run_evaluate, root
    ):
        done = pretrain("evaluation=reconstruction")
        assert (done.run / "evaluation" / "reconstruction-val.json").is_file()
        run = f"run={done.run}"

        assert run_evaluate(run, "split=val").out.splitlines()[-1].startswith("val/mse")
        assert_refused(
            run_evaluate(run), f"{root} has no test folder, and none of its images is set aside: choose another split."
        )
        assert_refused(
            run_evaluate(run, "evaluation=reconstruction"), "These data have no test split: choose split=val."
        )
        needs_labels = "evaluation=probes needs labels, and image_folder has none: leave it out."
        assert_refused(run_evaluate(run, "evaluation=probes", "split=val"), needs_labels)
        assert_refused(pretrain("evaluation=probes", "seed=1"), needs_labels)
        assert not list(done.run.parent.glob("*-s1-*/checkpoints"))

    def test_a_report_of_such_runs_says_that_there_is_no_test_split(self, pretrain, command, root, tmp_path):
        pretrain("callbacks=[default,probe]", "logger=tensorboard")
        done = command(report.main, str(tmp_path / "outputs"))

        assert done.code == 0, done.err
        summary = next((tmp_path / "outputs" / "reports").glob("*/summary.md")).read_text()
        assert "1 of 1 runs have no test split, and so no test metric" in summary

    def test_its_codes_are_written_without_labels(self, pretrain, command, root, tmp_path):
        run = pretrain().run
        words = (f"run={run}", "data=image_folder", f"data.root={root}", "data.image_size=8", "data.labels=none")
        done = command(embed.main, *words, "split=train", f"out={tmp_path}/codes.csv")

        assert done.code == 0, done.err
        lines = (tmp_path / "codes.csv").read_text().splitlines()
        assert len(lines) == 11
        assert lines[0].split(",")[:2] == ["image", "feature_0"]
        assert_refused(
            command(embed.main, *words, f"out={tmp_path}/codes.csv"),
            f"{root} has no test folder, and none of its images is set aside: choose another split.",
        )

    def test_a_classifier_of_them_is_refused_before_a_single_image_is_decoded(self, classify, root, tmp_path):
        assert_refused(
            classify("data.labels=none"),
            "model=classifier learns labels, and data.labels=none takes none: leave it out.",
        )
        assert_refused(
            classify(),
            f"{root}/train does not exist: a data set is laid out as {root}/train/<class>/<images>, and images without "
            "labels can only be pretrained on, with data.labels=none.",
        )
        assert not (tmp_path / "cache").exists()

    def test_a_test_folder_without_train_is_not_taken_for_pictures_to_train_on_unless_one_says_so(self, pretrain, root):
        (root / "garden").rename(root / "test")
        assert_refused(
            pretrain(),
            f"{root} has a folder test, but no train: add that, or data.labels=none takes all images below it.",
        )

        done = pretrain("data.labels=none")
        assert parts(done) == (9, 1, 0)
        assert_said(
            done,
            "pets has no train folder: all 10 images in it are used, without labels, those in test too.",
        )

    def test_labels_per_class_has_no_meaning_then(self, pretrain):
        assert_refused(
            pretrain("data.labels_per_class=2"),
            "data.labels_per_class=2 counts images of a class, and these have no labels: take data.train_fraction.",
        )
        assert parts(pretrain("data.train_fraction=0.5")) == (4, 1, 0)


def test_splits_are_kept_apart_where_labels_are_not_asked_for(pretrain, root):
    split(root, "train")
    split(root, "test", {"emu": 3}, seed=1)
    done = pretrain("data.labels=none")

    assert parts(done) == (9, 1, 3)
    assert done.result["data"]["used"] == "Used: 9 train, 1 val, 3 test images without labels."


def test_any_data_set_can_be_pretrained_on_without_its_labels(run_train):
    done = run_train("data=digits", *SMALL[3:], "model=ae", "data.labels=none", "trainer.limit_train_batches=1")

    assert parts(done) == (1293, 144, 360)
    assert done.result["data"]["classes"] == 0


def test_a_class_of_one_image_is_trained_on_where_no_classes_are_learnt(pretrain, classify, root):
    split(root, "train", {"common": 20, "single": 1})

    assert parts(pretrain()) == (15, 2, 4)
    assert_refused(classify(), "Class 'single' has 1 training image: 2 are needed, one for validation.")


def test_what_small_classes_make_of_the_splits_is_said(classify, root):
    split(root, "train", {f"class{number:02}": 3 + (number < 5) for number in range(15)})
    done = classify()

    assert parts(done) == (20, 15, 15)
    why = "but each class gives a whole number of images, and one at least"
    assert_said(done, f"pets has no test folder: 15 of its 50 images are set aside as test (20% would be 10, {why}).")
    assert_said(done, f"Validation: 15 of 35 images (10% would be 4, {why}).")


def test_a_target_of_one_class_is_refused(classify, pretrain, root):
    split(root, "train", {"all": 10})

    assert_refused(
        classify(),
        "image_folder has one class, 'all', and a classifier tells two classes or more apart: choose other data.",
    )
    assert parts(pretrain()) == (7, 1, 2)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_folder_that_may_not_be_read_is_a_sentence(classify, root):
    split(root, "train")
    (root / "train" / "cat").chmod(0)

    assert_refused(classify(), f"{root}/train/cat can't be read (Permission denied): make it readable, or remove it.")


def test_a_link_to_itself_is_a_sentence(classify, root):
    split(root, "train")
    (root / "train" / "loop").symlink_to("loop")

    assert_refused(
        classify(),
        f"{root}/train/loop can't be read (Too many levels of symbolic links): make it readable, or remove it.",
    )
