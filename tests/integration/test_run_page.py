"""A run's own page: what it says of a finished, a failed and an interrupted run, and that nothing about it spoils one."""

import json
import re
import shlex
import shutil
from html import unescape

import numpy as np
import pytest

from aetransfer.config.compose import composed
from aetransfer.report import __main__ as report
from aetransfer.report import run as run_page
from aetransfer.store.directory import RunDirectory
from tests.integration.conftest import TINY, TINY_PRETRAINING, assert_refused
from tests.made import idx_bytes, write_idx
from tests.report.test_report import Tags


def words_of(run):
    """The page's text without its pictures."""
    html = re.sub(r"data:image[^\"]*", "", (run / "report.html").read_text())
    return " ".join(unescape(re.sub(r"<style>.*?</style>|<[^>]+>", " ", html, flags=re.S)).split())


def test_a_finished_transfers_page_says_what_was_run_and_what_its_numbers_must_be_read_with(finished):
    said, result = words_of(finished), json.loads((finished / "result.json").read_text())

    for name in ("acc", "f1", "nll", "ece"):
        assert f"{result['metrics'][f'test/{name}']:.4g} {result['metrics'][f'val/{name}']:.4g}" in said
    assert "Transfer to photo_digits from digits (ae): finetune" in said
    assert "whose encoder is the pretrained one and is trained" in said
    assert "One run (n = 1) of seed 1" in said
    assert "the 360 test images were used once, after that" in said
    assert "Its control, transfer=scratch with seed 1, had no test result in this store" in said
    assert "torch " in said and f"commit {result['git']['commit']}" in said and "CPU cores" in said
    assert "limit_train_batches: 3" in said.partition("The whole config")[2]
    assert "python -m aetransfer.train data=photo_digits" in said


def test_a_page_names_a_given_source_by_its_run_and_not_by_where_it_lies(run_train, finished_pretraining):
    words = [word for word in TINY if "pretrain." not in word]
    done = run_train(*words, f"pretrain={finished_pretraining}", "transfer=finetune", "seed=3")

    assert f"Transfer to photo_digits from {finished_pretraining.name}: finetune" in words_of(done.run)


def test_the_page_loads_nothing_and_links_its_pretrainings_page(finished, finished_pretraining):
    html = (finished / "report.html").read_text()
    page = Tags(html)

    assert page.open == []
    links = [address for address in page.addresses if not address.startswith("data:")]
    assert links == [f"../{finished_pretraining.name}/report.html"]
    assert (finished / links[0]).resolve() == finished_pretraining / "report.html"
    assert "://" not in re.sub(r"data:image[^\"]*", "", html) and "<script" not in html
    assert html.count("data:image/svg+xml") == 3  # accuracy, cross-entropy, learning rate


@pytest.mark.slow
def test_a_transfers_page_compares_it_with_its_control_of_the_same_seed_alone(run_train):
    other = run_train(*TINY, "transfer=scratch", "seed=1", "data.labels_per_class=5").run
    control = run_train(*TINY, "transfer=scratch", "seed=1").run
    run_train(*TINY, "transfer=scratch", "seed=2")
    done = run_train(*TINY, "transfer=finetune", "seed=1")

    theirs = json.loads((control / "result.json").read_text())["metrics"]["test/acc"]
    difference = done.result["metrics"]["test/acc"] - theirs
    assert f"reached test/acc {theirs:.4f}: a difference of {difference:+.4f}. One pair of seeds" in words_of(done.run)
    assert f"../{control.name}/report.html" in (done.run / "report.html").read_text()
    assert other.name not in (done.run / "report.html").read_text()


def the_run(tmp_path):
    (run,) = (tmp_path / "outputs" / "runs").glob("[!.]*")
    return run


def test_an_interrupted_runs_page_says_how_far_it_was_and_how_to_go_on(run_train, interrupted_at, tmp_path):
    with interrupted_at(4):
        assert run_train(*TINY_PRETRAINING, "model=ae", "trainer.limit_train_batches=3").code == 130

    said = words_of(the_run(tmp_path))
    assert "This run is interrupted before its end The last sign of it was in epoch 2 of 2" in said
    assert "images an epoch in batches of" in said.partition("The last lines of train.log")[2]
    command = re.search(r"resumes from its last checkpoint: python -m aetransfer\.train (.*?) The last lines", said)[1]

    done = run_train(*shlex.split(command))
    assert done.run == the_run(tmp_path)
    assert "This run is" not in words_of(done.run) and "Final numbers" in words_of(done.run)


def test_a_failed_runs_page_says_why(run_train, tmp_path):
    raw = tmp_path / "data" / "MNIST" / "raw"
    write_idx(raw)
    (raw / "train-labels-idx1-ubyte").write_bytes(idx_bytes(np.full(20, 11, np.uint8)))
    done = run_train("data=mnist", "model=ae", "trainer=cpu")
    assert done.code == 1
    assert "holds label 11" in done.err

    said = words_of(the_run(tmp_path))
    assert "This run is failed before its first step" not in said
    assert "This run is failed" in said and "before its first step" in said
    assert done.err.removeprefix("error: ").strip() in said


def test_a_page_that_cannot_be_written_is_a_warning_and_the_run_is_finished_before_it_is_tried(run_train, monkeypatch):
    found = []

    def fail(directory: RunDirectory) -> None:
        found.append(directory.result()["status"])
        raise ZeroDivisionError("no page today")

    monkeypatch.setattr(run_page, "write_run_page", fail)
    done = run_train(*TINY, "transfer=scratch")

    assert done.code == 0
    assert done.result["status"] == "finished"
    assert found == ["finished"]
    assert "The run's page can't be written (ZeroDivisionError: no page today)" in done.out
    assert not (done.run / "report.html").exists()


def test_the_command_writes_the_same_page_again_and_needs_no_torch(finished, torchless, command, tmp_path):
    copied = tmp_path / "outputs" / "runs" / finished.name
    shutil.copytree(finished, copied)
    # Without its pretraining, which was not copied.
    assert command(report.main, f"run={copied}").out == f"report: {copied}/report.html\n"
    page = (copied / "report.html").read_bytes()
    (copied / "report.html").unlink()

    answer = torchless("report", f"run={copied}")

    assert (answer.code, answer.torch) == (0, False), answer.err
    assert (copied / "report.html").read_bytes() == page
    assert (
        f"The encoder comes from {json.loads((copied / 'result.json').read_text())['source'].rpartition('/')[2]}"
        in (words_of(copied))
    )


@pytest.mark.parametrize("folder", ["plain", "it's Präsenz (2)"])
def test_what_a_page_says_to_type_next_is_what_a_shell_and_the_command_read(finished, command, tmp_path, folder):
    copied = tmp_path / folder / "runs" / finished.name
    shutil.copytree(finished, copied)
    assert command(report.main, f"run={copied}").code == 0

    hint = re.search(r"python -m aetransfer\.evaluate (\S*run=.*? evaluation=\w+)", words_of(copied))[1]

    assert composed("evaluate", shlex.split(hint)).run == str(copied)
    assert ("'" in hint) == (folder != "plain")


@pytest.mark.slow
def test_what_was_measured_stands_on_the_page_with_its_pictures(run_train, run_evaluate):
    done = run_train(*TINY, "transfer=scratch")
    assert f"python -m aetransfer.evaluate run={done.run} evaluation=classifier" in words_of(done.run)

    assert run_evaluate(f"run={done.run}", "evaluation=classifier").code == 0

    said = words_of(done.run)
    rows = json.loads((done.run / "evaluation" / "classifier.json").read_text())["rows"]
    assert "classifier on photo_digits, test class most often taken for images acc share" in said
    assert f"all – 360 {rows[-1]['acc']:.4g} –" in said
    assert (done.run / "report.html").read_text().count("data:image/png") == 2
    assert "Not measured yet" not in said


@pytest.mark.slow
def test_a_transfer_leaves_its_report_by_class_and_evaluating_gives_the_same(run_train, run_evaluate):
    words = ["callbacks=default" if word == "callbacks=none" else word for word in TINY]
    done = run_train(*words, "transfer=scratch")
    path = done.run / "evaluation" / "classifier.json"
    left, page = path.read_text(), (done.run / "report.html").read_bytes()

    assert run_evaluate(f"run={done.run}", "evaluation=classifier").code == 0

    assert path.read_text() == left
    assert (done.run / "report.html").read_bytes() == page
    # The first layer, the surest mistakes, the confusions and the calibration.
    assert page.count(b"data:image/png") == 4


def test_a_pretrainings_page_shows_what_it_drew(run_train):
    done = run_train(*TINY_PRETRAINING, "model=vae", "trainer.limit_train_batches=3", "logger=none")

    said = words_of(done.run)
    assert "Pretraining: variational autoencoder of digits" in said
    for words in ("Validation images, their reconstructions", "Samples from the prior", "One latent moved at a time"):
        assert words in said
    assert (done.run / "report.html").read_text().count("data:image/png") == 6


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["run=nowhere"], "nowhere is no run directory: it has no config.yaml."),
        (["run=nowhere", "stage=transfer"], "run=DIR writes the page of one run, and takes no other word."),
    ],
)
def test_what_has_no_page_is_said_in_a_sentence(command, words, sentence):
    assert_refused(command(report.main, *words), sentence)
