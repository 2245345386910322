"""A search does not test: its trials never see the test split, and a later command of the same config tests them."""

import json
from pathlib import Path

import pytest
from pytorch_lightning import Trainer

from aetransfer import runs
from aetransfer.data.module import DataModule
from aetransfer.models.autoencoder import AutoEncoder
from aetransfer.models.classifier import Classifier
from aetransfer.report import __main__ as report
from aetransfer.store.directory import RunDirectory
from aetransfer.training import stages
from tests.commands import run_command
from tests.integration.conftest import TINY, TINY_PRETRAINING, job_of

SEARCH = ("-m", *TINY, "sweep=tune", "sweep.trials=1", "trainer.max_epochs=1")
PRETRAINING = (*TINY_PRETRAINING, "model=ae", "trainer.limit_train_batches=3", "logger=none", "callbacks=none")


@pytest.fixture
def no_test_split(monkeypatch):
    """Let a command fail that so much as opens the test split."""
    original = DataModule.setup

    def setup(self, stage):
        assert stage != "test", "the test split was opened"
        original(self, stage)

    monkeypatch.setattr(DataModule, "setup", setup)


@pytest.fixture
def without_a_step(monkeypatch):
    """From now on let a command fail that trains."""

    def call():
        def step(self, *_):
            raise AssertionError("it was trained")

        for model in (Classifier, AutoEncoder):
            monkeypatch.setattr(model, "training_step", step)

    return call


@pytest.fixture
def trial(tmp_path):
    """Do a job as a search would. Returns its directory."""

    def call(*words, store=tmp_path / "outputs"):
        words = [*words, f"paths.output_dir={store}"]
        job = job_of(*words).model_copy(update={"test": "left_out"})
        return stages.run(job, words).directory

    return call


def metrics_of_test(directory):
    return {name for name in directory.result()["metrics"] if name.startswith("test/")}


@pytest.mark.slow
def test_a_search_opens_no_test_split_and_prints_nothing_of_it(run_train, no_test_split, tmp_path):
    done = run_train(*SEARCH, "transfer=scratch,frozen")

    assert done.code == 0, done.err
    assert "test/" not in done.out
    results = [json.loads(path.read_text()) for path in (tmp_path / "outputs" / "runs").glob("*/result.json")]
    assert len(results) == 3  # and the pretraining that one of them carries
    for result in results:
        assert result["status"] == "finished" and result["untested"] is True
        assert result["metrics"] and not any(name.startswith("test/") for name in result["metrics"])
        assert "test" not in result["counts"]


@pytest.mark.slow
def test_it_takes_no_measures_and_says_so(run_train, no_test_split, tmp_path):
    done = run_train(*SEARCH, "transfer=scratch", "evaluation=classifier")

    assert done.out.startswith("A search tests nothing, so evaluation= waits for the commands that it ends with.\n")
    assert not list(tmp_path.glob("outputs/runs/*/evaluation"))
    (best,) = (line for line in done.out.splitlines() if line.startswith("best: "))
    assert " evaluation=classifier " in best


def test_what_an_earlier_command_has_tested_a_search_does_not_show(run_train, write_config):
    folder = write_config(**{"sweep/mine": "trials: 1\nspace: {optimizer.lr: {choices: [0.004]}}\n"})
    words = (*TINY, "transfer=scratch", "trainer.max_epochs=1")
    assert "test/acc" in run_train(*words, "optimizer.lr=0.004").out

    done = run_train("-m", *folder, *words, "sweep=mine")

    (log,) = Path(done.out.splitlines()[-1].removeprefix("sweep: ")).glob("jobs/*.log")
    assert "is finished: its result is used" in log.read_text()
    assert "test/" not in done.out


@pytest.mark.parametrize(
    "words",
    [
        (*TINY, "transfer=frozen", "logger=[csv,tensorboard]", "callbacks=default"),
        pytest.param((*TINY, "transfer=scratch", "callbacks=early_stopping", "+callbacks.early_stopping.min_delta=1",
                      "callbacks.early_stopping.patience=1", "trainer.max_epochs=5"), marks=pytest.mark.slow),
        pytest.param(PRETRAINING, marks=pytest.mark.slow),
    ],
    ids=["a transfer", "one that early stopping ended", "a pretraining"],
)  # fmt: skip
def test_the_same_config_tests_it_later_without_a_step_and_with_the_same_numbers(
    run_train, trial, without_a_step, words, tmp_path
):
    directory = trial(*words)
    before = directory.result()
    at_once = run_train(*words, f"paths.output_dir={tmp_path / 'other'}")
    without_a_step()

    later = run_train(*words)

    assert later.code == 0, later.err
    assert later.run == directory.path
    assert f"{directory.path.name} is finished, and a search has left it untested: it is tested now." in later.out
    assert later.result["metrics"] == at_once.result["metrics"]
    assert later.result["counts"] == at_once.result["counts"]
    assert later.result["data"] == at_once.result["data"]
    assert later.result["model"] == at_once.result["model"]
    assert "untested" not in later.result
    for key in ("train_seconds", "images_per_second"):
        assert later.result["timing"][key] == before["timing"][key]
    assert later.result["timing"]["seconds"] > before["timing"]["seconds"]
    for name in ("encoder.json", "history.json", "metrics.csv", "mistakes.json", "first_layer.png", "mistakes.png"):
        assert (later.run / name).is_file() == (at_once.run / name).is_file()
        if (later.run / name).is_file():
            assert (later.run / name).read_bytes() == (at_once.run / name).read_bytes(), name
    assert "test images were used once" in (later.run / "MODEL_CARD.md").read_text()
    assert "test images were used once" in (later.run / "report.html").read_text()
    again = run_train(*words)
    assert again.result == later.result


@pytest.mark.slow
def test_a_transfer_has_the_pretraining_tested_that_it_carries(run_train, trial, without_a_step, tmp_path):
    trial(*TINY, "transfer=frozen", "trainer.max_epochs=1")
    without_a_step()

    done = run_train(*TINY, "transfer=frozen", "trainer.max_epochs=1")

    assert done.code == 0, done.err
    assert metrics_of_test(RunDirectory(tmp_path / done.result["source"])) == {"test/mse"}


def test_its_card_page_and_lists_say_that_it_is_not_tested(trial, command, no_test_split):
    directory = trial(*TINY, "transfer=frozen", "trainer.max_epochs=1")

    sentence = "the test split was not used, because a search made this run: train with the same config tests it"
    assert sentence in directory.model_card.read_text()
    page = directory.page.read_text()
    assert sentence in page
    assert "Its control" not in page
    assert command(runs.main, "list").out.count("untested") == 2
    done = command(report.main, "stage=transfer")
    assert done.code == 0, done.err
    left_out = (
        "A finished run is left out, because a search made it and did not test it: train with the same config does."
    )
    assert left_out in done.out
    folder = directory.path.parents[1] / "reports" / "stage-transfer"
    assert left_out in (folder / "index.html").read_text() and left_out in (folder / "summary.md").read_text()


def test_a_run_without_a_test_is_in_no_mean_of_a_report(run_train, trial, command):
    words = (*TINY, "transfer=scratch", "trainer.max_epochs=1")
    trial(*words, "seed=1")
    run_train(*words, "seed=0")

    done = command(report.main, "stage=transfer")

    (row,) = (line for line in done.out.splitlines() if line.startswith("│"))
    assert row.split("│")[-2].strip() == "1"
    assert "A finished run is left out" in done.out


@pytest.mark.parametrize("error", [RuntimeError("no such image"), KeyboardInterrupt()], ids=["fails", "is interrupted"])
def test_a_later_test_that_does_not_come_to_its_end_leaves_the_run_as_it_was(run_train, trial, monkeypatch, error):
    directory = trial(*PRETRAINING)
    before = directory.result()

    def test(*_, **__):
        raise error

    with monkeypatch.context() as patch:
        patch.setattr(Trainer, "test", test)
        if isinstance(error, RuntimeError):
            with pytest.raises(RuntimeError):
                run_train(*PRETRAINING)
        else:
            assert run_train(*PRETRAINING).code == 130
    assert directory.result() == before

    assert run_train(*PRETRAINING).code == 0
    assert metrics_of_test(directory) == {"test/mse"}


def test_rerun_trains_it_afresh_and_tests_it(run_train, trial):
    directory = trial(*PRETRAINING)

    assert run_train(*PRETRAINING, "rerun=true").code == 0

    assert metrics_of_test(directory) == {"test/mse"}
    assert not metrics_of_test(RunDirectory(directory.path.with_name(f"{directory.path.name}~1")))


def test_whether_a_run_is_tested_is_no_part_of_its_config(trial):
    directory = trial(*PRETRAINING)

    assert "left_out" not in directory.config.read_text()
    assert directory.read_config().test == "after_training"


@pytest.mark.slow
@pytest.mark.parametrize("launcher", [["launcher=joblib", "hydra.launcher.n_jobs=2"], ["launcher=local"]], ids=str)
def test_trials_in_processes_of_their_own_are_not_tested_either(launcher, tmp_path):
    done = run_command("train", *SEARCH, "transfer=scratch", *launcher, cwd=tmp_path, env={"OMP_NUM_THREADS": "1"})

    assert done.returncode == 0, done.stderr
    (result,) = (json.loads(path.read_text()) for path in tmp_path.glob("outputs/runs/*/result.json"))
    assert result["untested"] is True
    assert not any(name.startswith("test/") for name in result["metrics"])


@pytest.mark.slow
def test_so_it_is_with_two_processes_which_test_it_later(run_train, trial, tmp_path):
    words = (*PRETRAINING, "trainer=ddp_sim")
    directory = trial(*words)
    assert directory.result()["counts"]["processes"] == 2
    assert not metrics_of_test(directory)

    done = run_command("train", *words, cwd=tmp_path, env={"OMP_NUM_THREADS": "1"})

    assert done.returncode == 0, done.stderr
    assert metrics_of_test(directory) == {"test/mse"}
    assert "untested" not in directory.result()


def test_a_result_that_only_claims_to_be_untested_is_no_traceback(run_train, trial):
    directory = trial(*PRETRAINING)
    directory.write_result({"status": "finished", "untested": True, "metrics": {}, "timing": 3})

    assert run_train(*PRETRAINING).code == 0
    directory.write_result(
        {"status": "finished", "untested": True, "metrics": {}, "counts": {}, "timing": {"seconds": "long"}}
    )

    assert run_train(*PRETRAINING).code == 0
    assert metrics_of_test(directory) == {"test/mse"}
