"""What a user sets of Hydra itself: search paths, swept globs, a sweeper's params, directories."""

import json

import pytest
from hydra.core.config_store import ConfigStore

from aetransfer import train
from aetransfer.config.compose import options_of
from tests.integration.conftest import TINY, TINY_PRETRAINING, assert_is_one_sentence, assert_refused

ARM = "name: {name}\nweights: fresh\nencoder: trained\n"
HELD = {
    "hydra.sweep.dir": "mine",
    "hydra.sweep.subdir": "mine",
    "hydra.run.dir": "mine",
    "hydra.output_subdir": "mine",
    "hydra.job.chdir": "true",
}


@pytest.fixture
def names(command):
    """The names of the runs that a command means."""

    def call(*words):
        done = command(train.main, "--identity", *words)
        assert done.code == 0, done.err
        return [line.rpartition("/")[2] for line in done.out.splitlines() if line.startswith("run: ")]

    return call


@pytest.fixture
def folders(tmp_path):
    """Two folders of config files, with an arm and an experiment each."""
    for number in (1, 2):
        for group, name, text in (
            ("transfer", f"own{number}", ARM.format(name=f"own{number}")),
            ("experiment", f"of{number}", f"# @package _global_\nseed: {number}\n"),
        ):
            file = tmp_path / f"lab {number}" / group / f"{name}.yaml"
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(text)
    return tmp_path / "lab 1", tmp_path / "lab 2"


def both(folders):
    """The first folder as --config-dir, the second on the search path."""
    return "--config-dir", str(folders[0]), f"hydra.searchpath=['file://{folders[1]}']"


@pytest.fixture
def plugin():
    """An arm that no folder has: a plugin brought it."""
    store = ConfigStore.instance()
    store.store(group="transfer", name="own3", node={"name": "own3", "weights": "fresh", "encoder": "trained"})
    yield
    del store.repo["transfer"]["own3.yaml"]


@pytest.mark.parametrize(("key", "value"), HELD.items())
def test_a_directory_of_hydras_is_refused_with_the_place_where_runs_and_sweeps_go(torchless, key, value):
    for words in (["-m", "seed=0,1"], ["seed=0"]):
        done = torchless("train", *words, f"{key}={value}")

        assert_is_one_sentence(done.err)
        assert done.err.startswith(f"error: {key}={value} has no meaning here, where runs go to ")
        assert "/sweeps, each into a directory of its own: leave it out, or set paths.output_dir." in done.err


def test_so_is_one_that_a_file_sets(torchless, write_config):
    folder = write_config(**{"experiment/mine": "# @package _global_\nhydra: {sweep: {dir: /mine}}\n"})

    done = torchless("train", "-m", *folder, "experiment=mine", "seed=0,1")

    assert done.err.startswith("error: hydra.sweep.dir=/mine has no meaning here, ")


def test_what_they_are_anyway_may_be_said(names):
    assert names(*TINY_PRETRAINING, "model=ae", "hydra.run.dir=.", "hydra.job.chdir=false", "hydra.output_subdir=null")


PARAMS = "# @package _global_\nhydra: {sweeper: {params: {seed: '0,1', encoder.latent_dim: '8,16'}}}\n"


def test_the_params_of_a_sweeper_are_counted_before_anything_runs(names, write_config):
    folder = write_config(**{"experiment/mine": PARAMS})
    words = ("-m", *folder, *TINY_PRETRAINING[:2], "model=ae", "experiment=mine")

    assert [name.split("-ae-")[1].rpartition("-")[0] for name in names(*words)] == [
        "d8-s0",
        "d16-s0",
        "d8-s1",
        "d16-s1",
    ]
    assert [name.split("-ae-")[1].rpartition("-")[0] for name in names(*words, "seed=5")] == ["d8-s5", "d16-s5"]


def test_a_bad_value_among_them_is_refused_before_the_first_job(torchless, write_config):
    folder = write_config(**{"experiment/mine": PARAMS.replace("0,1", "0,-1")})

    done = torchless("train", "-m", *folder, "experiment=mine")

    assert_refused(done, "seed=-1 should be greater than or equal to 0.")


@pytest.mark.slow
def test_they_are_planned_as_they_are_run(run_train, write_config, tmp_path):
    folder = write_config(**{"experiment/mine": PARAMS.replace("'8,16'", "'8'")})
    words = (*TINY, "transfer=scratch", "experiment=mine", "trainer.max_epochs=1")

    assert run_train("-m", *folder, *words).code == 0

    (sweep,) = (tmp_path / "outputs" / "sweeps").iterdir()
    planned = json.loads((sweep / "planned.json").read_text())
    noted = [json.loads(path.read_text()) for path in sorted((sweep / "jobs").glob("*.json"))]
    assert {str(job["number"]): job["overrides"] for job in noted} == planned
    assert [json.loads((tmp_path / job["run"] / "result.json").read_text())["seed"] for job in noted] == [0, 1]


def test_params_that_only_some_jobs_have_are_refused(torchless, write_config):
    folder = write_config(**{"experiment/mine": PARAMS, "experiment/other": "# @package _global_\nseed: 3\n"})

    done = torchless("train", "-m", *folder, "experiment=mine,other")

    assert_refused(
        done,
        "Only some of the sweep's jobs have these hydra.sweeper.params: choose one experiment.",
    )


def test_params_may_not_say_whose_code_is_run(torchless, write_config):
    folder = write_config(**{"experiment/mine": PARAMS.replace("seed: '0,1'", "allow: '[os]'")})

    done = torchless("train", "-m", *folder, "experiment=mine")

    assert_refused(
        done, "hydra.sweeper.params sets allow, and no file may say whose code is run: set it on the command line."
    )


def test_a_mode_that_sweeps_is_refused(torchless):
    assert_refused(torchless("train", "hydra.mode=MULTIRUN"), "hydra.mode=MULTIRUN runs a sweep: add -m in its place.")


@pytest.mark.parametrize(("experiment", "seed"), [("of1", 1), ("of2", 2)])
def test_a_further_folder_and_a_search_path_both_count(names, folders, experiment, seed):
    (name,) = names(*both(folders), *TINY_PRETRAINING, "model=ae", f"experiment={experiment}")

    assert f"-s{seed}-" in name


def test_a_swept_glob_has_what_every_folder_and_plugin_brings(names, folders, plugin):
    found = names("-m", *both(folders), *TINY, "transfer=glob(own*)")

    assert [name.split("-")[2] for name in found] == ["own1", "own2", "own3"]


def test_a_glob_is_swept_over_as_it_is_planned(run_train, folders, tmp_path):
    done = run_train("-m", *both(folders), *TINY, "transfer=glob(own*)", "trainer.max_epochs=1")

    assert done.code == 0
    (planned,) = tmp_path.glob("outputs/sweeps/*/planned.json")
    arms = [dict(word.split("=", 1) for word in job)["transfer"] for job in json.loads(planned.read_text()).values()]
    assert arms == ["own1", "own2"]
    assert len(list(tmp_path.glob("outputs/runs/transfer-*"))) == 2


def test_a_glob_leaves_out_what_others_are_made_from():
    assert "_base" not in options_of("data", "train")


def test_the_choices_that_a_sentence_offers_are_all(torchless, folders):
    done = torchless("train", *both(folders), "transfer=on1")

    assert "(did you mean own1): there are finetune" in done.err
    assert " own1, own2, random_frozen" in done.err
    assert " own1, own2, " in torchless("train", *both(folders), "transfer=5").err


def test_a_pretraining_of_ones_own_is_no_path_where_a_folder_is_called_like_it(names, tmp_path, monkeypatch):
    (tmp_path / "lab" / "pretrain").mkdir(parents=True)
    (tmp_path / "lab" / "pretrain" / "mine.yaml").write_text("defaults: [declared]\ntrainer: {max_epochs: 3}\n")
    (tmp_path / "mine").mkdir()
    monkeypatch.chdir(tmp_path)

    (name,) = names(
        "--config-dir", "lab", "data=photo_digits", "transfer=frozen", "pretrain=mine", "pretrain.data.pad=2"
    )

    assert "frozen-from-mnist-ae" in name
