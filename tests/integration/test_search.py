"""sweep=tune: equally many trials for every arm, chosen on validation alone, whoever works on them and however often."""

import json
import os
import shlex
import subprocess
import sys
from dataclasses import asdict, replace
from datetime import timedelta

import optuna
import pytest
from optuna.trial import TrialState

from aetransfer import command_line
from aetransfer.config.choices import Space, SweepFile
from aetransfer.models.facts import Monitor
from aetransfer.store.lock import Claim
from aetransfer.sweeps.search import ArmStudy, setting_of, storage_at
from tests.integration.conftest import TINY, assert_is_one_sentence

SEARCH = ("-m", *TINY, "transfer=scratch,random_frozen", "sweep=tune", "sweep.trials=3", "trainer.max_epochs=1")


@pytest.fixture
def fake_train(command, monkeypatch):
    """Run a search whose runs cost nothing: a run's validation accuracy is what `accuracy` says of its config."""

    def call(accuracy, *words):
        def task(config, overrides):
            run = accuracy.folder / f"run{len(list(accuracy.folder.iterdir()))}"
            value = accuracy(config)
            run.mkdir()
            (run / "result.json").write_text(json.dumps({"metrics": {"val/acc": value, "test/acc": 0.99}}))
            return run

        return command(lambda: command_line.main(command_line.Command("train", "", lambda *_: None, task)), *words)

    return call


class Accuracy:
    """A run's validation accuracy as a function of its config; notes which it was asked for."""

    def __init__(self, folder, of):
        folder.mkdir(exist_ok=True)
        self.folder, self.of, self.asked = folder, of, []

    def __call__(self, config):
        self.asked.append((config.transfer.name, config.optimizer.lr))
        return self.of(config)


def rows(done):
    """Return each arm's best value and numbers of finished, failed and running trials."""
    cells = [[cell.strip() for cell in line.split("│")[1:-1]] for line in done.out.splitlines() if line[:1] == "│"]
    return {arm: (best, *map(int, counts)) for arm, best, _, *counts in cells}


@pytest.mark.short
def test_every_arm_gets_its_trials_and_its_best_by_validation(run_train, tmp_path):
    done = run_train(*SEARCH)

    assert done.code == 0
    runs = [json.loads(path.read_text()) for path in (tmp_path / "outputs" / "runs").glob("*/result.json")]
    for arm in ("scratch", "random_frozen"):
        accuracies = [run["metrics"]["val/acc"] for run in runs if run["arm"] == arm]
        assert len(accuracies) == 3
        assert rows(done)[arm] == (f"val/acc {max(accuracies):.4g}", 3, 0, 0)
    assert "test/" not in done.out.partition("┏")[2]


@pytest.mark.slow
def test_the_last_lines_hold_the_command_that_measures_the_best_setting_on_other_seeds(run_train):
    done = run_train(*SEARCH, "sweep.trials=1")

    (line, _) = (line for line in done.out.splitlines() if line.startswith("best: "))
    words = shlex.split(line.removeprefix("best: python -m aetransfer.train "))
    assert words[-1] == "seed=1,2,3"
    assert not any(word.startswith("sweep") for word in words)
    shown = run_train("--identity", *words[:-1], "seed=0")
    assert shown.out.split()[2] == "finished"


@pytest.mark.slow
def test_a_search_goes_on_where_it_was_cut_and_no_trial_is_lost(fake_train, tmp_path):
    def cut(config):
        if len(accuracy.asked) == 4:
            raise KeyboardInterrupt
        return 0.5

    accuracy = Accuracy(tmp_path / "runs", cut)
    assert fake_train(accuracy, *SEARCH).code == 130

    done = fake_train(accuracy, *SEARCH)

    assert done.code == 0
    assert rows(done) == {
        "scratch": ("val/acc 0.5", 3, 0, 0),
        "random_frozen": ("val/acc 0.5", 3, 0, 0),
    }
    # The second round was given up: its two trials are asked for again, with the same values.
    assert set(accuracy.asked[2:4]) == set(accuracy.asked[4:6])
    assert fake_train(accuracy, *SEARCH).code == 0
    assert len(accuracy.asked) == 8


def test_a_trial_that_fails_or_is_not_a_number_does_not_end_the_search(fake_train, tmp_path):
    def bad(config):
        if len(accuracy.asked) == 1:
            raise RuntimeError("out of memory")
        return float("nan") if len(accuracy.asked) == 2 else 0.25

    accuracy = Accuracy(tmp_path / "runs", bad)
    done = fake_train(accuracy, *SEARCH)

    assert rows(done) == {
        "scratch": ("val/acc 0.25", 2, 1, 0),
        "random_frozen": ("val/acc 0.25", 2, 1, 0),
    }
    assert done.code == 1
    assert "RuntimeError: out of memory" in next(line for line in done.out.splitlines() if line.startswith("failed: "))


@pytest.mark.slow
def test_a_search_that_can_not_read_its_own_notes_leaves_what_it_has_done(fake_train, tmp_path):
    def damaging(config):
        if len(accuracy.asked) == 3:
            (note,) = tmp_path.glob("outputs/sweeps/*/jobs/00000.json")
            note.write_text('{"number": 0, "overr')
        return 0.5

    accuracy = Accuracy(tmp_path / "runs", damaging)
    done = fake_train(accuracy, *SEARCH)

    assert done.code == 1
    assert_is_one_sentence(done.err)
    assert "/jobs/00000.json is damaged (" in done.err
    (sweep,) = (tmp_path / "outputs" / "sweeps").iterdir()
    assert (sweep / "planned.json").is_file()
    assert len(list((sweep / "jobs").glob("*.json"))) == 4


@pytest.mark.slow
def test_a_key_on_the_command_line_is_not_searched(fake_train, tmp_path):
    accuracy = Accuracy(tmp_path / "runs", lambda config: 0.5)
    done = fake_train(accuracy, *SEARCH, "optimizer.lr=0.004")

    assert {lr for _, lr in accuracy.asked} == {0.004}
    assert len(rows(done)) == 2


@pytest.mark.slow
def test_a_search_is_the_same_each_time_and_another_with_another_seed(fake_train, tmp_path):
    asked = []
    for place, seed in (("a", 0), ("b", 0), ("c", 1)):
        accuracy = Accuracy(tmp_path / "runs", lambda config: config.optimizer.lr)
        fake_train(accuracy, *SEARCH, f"sweep.storage={tmp_path / place}", f"sweep.seed={seed}")
        asked.append(accuracy.asked)

    assert asked[0] == asked[1] != asked[2]
    assert len(set(asked[0])) == 6


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["sweep.trials=0"], "sweep.trials=0 should be greater than 0."),
        (["sweep.space.optimizer.lr.low=1"], "sweep.space.optimizer"),
        (["+sweep.space={seed:{low:0}}"], "sweep.space.seed takes choices, or low and a greater high."),
        (
            ["optimizer.lr=1", "optimizer.encoder_lr=1", "optimizer.weight_decay=1"],
            "Nothing is left to search",
        ),
    ],
)
def test_a_mistake_is_one_sentence(run_train, words, sentence):
    done = run_train(*SEARCH, *words)

    assert done.code == 1
    assert done.err.startswith(f"error: {sentence}")


def study(tmp_path, trials=2):
    space = {"optimizer.lr": Space(low=0.001, high=1.0, log=True)}
    return ArmStudy("arm", Monitor("val/acc", "max"), SweepFile(trials=trials), space, storage_at(None, tmp_path))


@pytest.mark.slow
def test_the_studies_are_in_the_store_also_where_that_is_below_the_home_directory(fake_train, tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("AETRANSFER_OUTPUT_DIR", "~/store")

    assert fake_train(Accuracy(tmp_path / "runs", lambda config: 0.5), *SEARCH).code == 0

    assert sorted(path.name for path in (tmp_path / "store").iterdir()) == ["studies", "sweeps"]


def ended():
    """A process that is gone; its number is free for others."""
    code = "import json; from dataclasses import asdict; from aetransfer.store.lock import Claim\n"
    code += "print(json.dumps(asdict(Claim.mine())))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return Claim(**json.loads(done.stdout))


GONE = {
    "ended": ended,
    "ended, and another process has its number": lambda: replace(Claim.mine(), born=Claim.mine().born - 1000),
    "before a restart of the machine": lambda: replace(Claim.mine(), machine=f"{Claim.mine().host} earlier pid:[1]"),
}


@pytest.mark.parametrize("gone", GONE.values(), ids=GONE)
def test_a_trial_of_a_process_that_is_gone_is_asked_for_again(tmp_path, gone):
    lost = study(tmp_path).ask()
    lost.set_user_attr("process", asdict(gone()))

    later = study(tmp_path)
    again = later.ask()

    assert setting_of(again) == setting_of(lost)
    later.tell(again, 0.5)
    later.tell(later.ask(), 0.25)
    assert later.ask() is None
    assert len(later.counted(TrialState.COMPLETE)) == 2
    assert not later.counted(TrialState.FAIL)


@pytest.mark.parametrize(
    "machine", ["elsewhere boot pid:[1]", f"{Claim.mine().host} {Claim.mine().boot} pid:[1]"], ids=["host", "container"]
)
def test_a_trial_of_another_machine_is_left_to_it_for_a_day(tmp_path, machine, monkeypatch):
    theirs = study(tmp_path).ask()
    theirs.set_user_attr("process", asdict(replace(Claim.mine(), machine=machine)))

    assert setting_of(study(tmp_path).ask()) != setting_of(theirs)
    monkeypatch.setattr("aetransfer.sweeps.search.GONE_AFTER", timedelta(0))
    assert setting_of(study(tmp_path).ask()) == setting_of(theirs)


def test_a_trial_that_another_process_is_at_is_left_to_it(tmp_path):
    mine, others = study(tmp_path), study(tmp_path)
    first, second = mine.ask(), others.ask()

    assert setting_of(first) != setting_of(second)
    assert mine.ask() is None
    assert others.ask() is None


@pytest.mark.slow
def test_two_processes_share_the_studies(tmp_path):
    words = [sys.executable, "-m", "aetransfer.train", *SEARCH]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    started = [
        subprocess.Popen(
            words, cwd=tmp_path, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
        )
        for _ in range(2)
    ]
    ends = [process.communicate()[1] for process in started]

    assert [process.returncode for process in started] == [0, 0], ends
    storage = storage_at(None, tmp_path / "outputs")
    for summary in optuna.get_all_study_summaries(storage):
        finished = [
            trial
            for trial in optuna.load_study(study_name=summary.study_name, storage=storage).trials
            if trial.state == TrialState.COMPLETE
        ]
        assert len(finished) == 3
    assert len(list((tmp_path / "outputs" / "runs").glob("[!.]*"))) == 6
