"""An installed package with the entry point `aetransfer.plugins`: its options are there, and allowed by their names."""

import importlib
import json
import os
from pathlib import Path

import pytest

from aetransfer.config import instantiate
from aetransfer.config.instantiate import BASES
from tests.commands import TorchlessProcess, run_command
from tests.integration.conftest import TINY, assert_refused
from tests.plugin import EXPERIMENT, FILES, MODEL_FILE, installed, write_plugin

TINY_NOISY = ("model=noisy", "data=digits", "encoder.widths=[4,8,8,8]", "encoder.latent_dim=8", "logger=none")
SHORT = ("trainer.max_epochs=1", "trainer.limit_train_batches=3", "callbacks=none")


@pytest.fixture
def plugin(tmp_path, monkeypatch):
    """my_lab is installed, in this process and those that it starts; its package's folder."""
    folder = write_plugin(tmp_path / "site")
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(folder), os.environ.get("PYTHONPATH", "")]))
    monkeypatch.chdir(tmp_path)
    with installed(folder):
        yield folder / "my_lab"
    assert not (tmp_path / "it-ran").exists()


@pytest.fixture
def torchless(plugin, tmp_path):
    with TorchlessProcess(tmp_path) as process:
        yield process


def overrides_of(run):
    return json.loads((run / "result.json").read_text())["overrides"]


@pytest.mark.parametrize("words", [(*TINY_NOISY, *SHORT), ("experiment=my_exp",)], ids=["model", "experiment"])
def test_an_option_of_a_plugin_is_chosen_and_allowed_by_its_name(plugin, run_train, words):
    done = run_train(*words)

    assert done.code == 0, done.err
    assert done.run.name.startswith("pretrain-digits-noisy-")
    assert "allow=[my_lab]" in overrides_of(done.run)
    assert set(done.result["own_code"]) == {"my_lab"}


@pytest.mark.slow
def test_as_a_pretraining_and_in_a_sweep_it_is_too(plugin, run_train):
    words = [word for word in TINY if not word.startswith("trainer.max_epochs")]
    done = run_train("-m", *words, "pretrain=noisy,ae", "transfer=frozen", "trainer.max_epochs=1")

    assert done.code == 0, done.err
    assert "1/2  noisy  " in done.out and "2/2  ae  " in done.out


def test_a_glob_stands_for_its_options_too(plugin, run_train):
    done = run_train("-m", *TINY_NOISY[1:], *SHORT, "model=glob(nois*)", "--identity")

    assert done.code == 0, done.err
    assert done.out.count("run: ") == 1


@pytest.mark.slow
@pytest.mark.parametrize("launcher", ["joblib", "local"])
def test_jobs_in_other_processes_have_its_options_and_what_is_allowed(plugin, run_train, launcher):
    done = run_train("-m", *TINY_NOISY, *SHORT, "seed=0,1", f"launcher={launcher}")

    assert done.code == 0, done.err
    assert len(list(Path("outputs/runs").glob("pretrain-digits-noisy-d8-s[01]-*"))) == 2


@pytest.mark.slow
def test_two_processes_of_a_run_share_what_is_allowed(plugin):
    done = run_command("train", *TINY_NOISY, *SHORT, "trainer=cpu", "trainer.devices=2")

    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        ("model=nosy", "model=nosy is no choice of model (did you mean noisy): there are ae, classifier, contrastive, denoising, iwae, masked, multilabel, noisy, regressor, vae, vicreg."),
        ("model=noisy model.sgma=1", "model.sgma is no config key or group (did you mean model.sigma)."),
        ("model=noisy +model.gamma=1", "my_lab.model.Noisy takes no gamma (did you mean sigma)."),
        ("model._target_=my_lab.model.Noisy", "_target_: my_lab.model.Noisy is of the plugin my_lab, and the command names none of its options: add allow=[my_lab] to the command line."),
        ("model=noisy encoder._target_=my_lab.tools.delete_all", "_target_: my_lab.tools.delete_all is no subclass of aetransfer.networks.encoder.Encoder, and of a plugin nothing else is called as encoder: make it one."),
        ("model=noisy model._target_=my_lab.script.Model", "_target_: my_lab.script.Model is no subclass of aetransfer.models.base.Pretext or aetransfer.models.base.Task, and of a plugin nothing else is called as model: make it one."),
    ],
)  # fmt: skip
def test_what_is_wrong_is_said_before_torch_is_imported(torchless, words, sentence):
    done = torchless(*["train", *words.split()])

    assert_refused(done, sentence)
    assert not done.torch


def test_what_only_a_file_names_is_not_allowed(torchless, write_config):
    folder = write_config(
        **{"experiment/mine": EXPERIMENT, "sweep/mine": "params: {model: noisy}\nset: {data: digits}\n"}
    )
    sentence = (
        "_target_: my_lab.model.Noisy is of the plugin my_lab, and the command names none of its options: add "
        "allow=[my_lab] to the command line."
    )

    assert_refused(torchless("train", *folder, "experiment=mine"), sentence)
    assert_refused(torchless("train", *folder, "-m", "sweep=mine"), sentence)


def test_packages_that_the_command_allows_stay_so(plugin, run_train):
    done = run_train(*TINY_NOISY, *SHORT, "allow=[tests]", "+callbacks.seen={_target_:tests.made.Seen}", "--identity")
    assert "outside" not in done.err

    done = run_train(*TINY_NOISY, *SHORT, "allow=[tests]")
    assert done.code == 0, done.err
    assert "allow=[tests,my_lab]" in overrides_of(done.run)


def test_a_run_of_its_class_is_measured_where_the_command_allows_it(plugin, run_train, run_evaluate):
    run = run_train(*TINY_NOISY, *SHORT).run

    refused = run_evaluate(f"run={run}")
    assert_refused(
        refused,
        "_target_: my_lab.model.Noisy is of the plugin my_lab, and the command names none of its options: add "
        "allow=[my_lab] to the command line.",
    )
    assert run_evaluate(f"run={run}", "allow=[my_lab]").code == 0


def test_its_options_are_listed_in_the_help(plugin, run_train):
    done = run_train("--help")

    assert done.code == 0
    assert "noisy" in done.out and "my_exp" in done.out


OWNED_BY_TWO = [
    ({}, {"model/noisy": MODEL_FILE}, "the plugin my_lab and --config-dir both have model/noisy.yaml: rename that of --config-dir."),
    ({"my_lab/configs/optimizer/adam.yaml": "lr: 1\n"}, {}, "aetransfer and the plugin my_lab both have optimizer/adam.yaml: rename that of the plugin my_lab."),
    ({"our_lab/__init__.py": "", "our_lab/configs/model/noisy.yaml": MODEL_FILE}, {}, "the plugin my_lab and the plugin our_lab both have model/noisy.yaml: rename that of the plugin our_lab."),
]  # fmt: skip


@pytest.mark.parametrize(("brought", "own", "sentence"), OWNED_BY_TWO)
def test_no_option_is_quietly_taken_for_another_of_its_name(
    tmp_path, monkeypatch, write_config, brought, own, sentence
):
    monkeypatch.setenv("PYTHONPATH", str(tmp_path / "site"))
    for package in {"my_lab", *(name.partition("/")[0] for name in brought)}:
        files = FILES | brought
        write_plugin(
            tmp_path / "site", {name: text for name, text in files.items() if name.startswith(package)}, package
        )
    with TorchlessProcess(tmp_path) as torchless:
        assert_refused(torchless("train", *write_config(**(own or {"seed": ""})), "model=noisy"), sentence)


def test_a_plugin_that_no_command_uses_changes_none(tmp_path, monkeypatch):
    monkeypatch.setenv("PYTHONPATH", str(tmp_path / "site"))
    write_plugin(
        tmp_path / "site",
        FILES | {"my_lab/configs/optimizer/adam.yaml": "lr: 1\n", "my_lab/configs/train.yaml": "x: 1"},
    )
    with TorchlessProcess(tmp_path) as torchless:
        assert_refused(
            torchless("train", "optimizer=adam", "optimizer.lr=x"), "optimizer.lr=x should be a valid number."
        )


def test_in_a_checkout_its_files_may_stand_beside_src(tmp_path, monkeypatch):
    package = write_plugin(tmp_path / "src") / "my_lab"
    (package / "configs").rename(tmp_path / "configs")
    monkeypatch.setenv("PYTHONPATH", str(package.parent))
    with TorchlessProcess(tmp_path) as torchless:
        done = torchless("train", "model=noisy", "model.sgma=1")
        assert_refused(done, "model.sgma is no config key or group (did you mean model.sigma).")


BROKEN = {"no folder": {"my_lab/__init__.py": ""}, "no package": {}}


@pytest.mark.parametrize("files", BROKEN.values(), ids=BROKEN)
def test_a_plugin_without_files_is_left_out_with_a_line(tmp_path, files):
    write_plugin(tmp_path / "site", files)

    done = run_command("train", "model=noisy", env={"PYTHONPATH": str(tmp_path / "site")})

    lack = "has no folder configs" if files else "can't be found"
    first, second = done.stderr.splitlines()
    assert first == f"The plugin my_lab is left out: its package {lack}."
    assert second.startswith("error: model=noisy is no choice of model")


def test_each_role_has_a_base_that_there_is():
    assert set(BASES) == set(instantiate.OWN)
    for base in {base for bases in BASES.values() for base in bases}:
        module, _, name = base.rpartition(".")
        assert isinstance(getattr(importlib.import_module(module), name), type)


def test_an_option_file_may_be_broken_without_harm_to_others(plugin, run_train):
    (plugin / "configs" / "model" / "bad.yaml").write_text("a: [")

    assert run_train(*TINY_NOISY, "--identity").code == 0
