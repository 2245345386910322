"""Bad input ends in one sentence on standard error and exit code 1, before anything is trained.

Where the config alone tells, that is before torch is imported, too.
"""

import json
import os
import pickle
import string

import pytest
import torch
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from omegaconf import DictConfig
from PIL import Image
from safetensors.torch import load_file, save_file
from torchvision import datasets

from aetransfer import stages
from aetransfer.assemble import make_encoder
from aetransfer.config.compose import checked, composed
from aetransfer.config.schema import Job
from aetransfer.transfer.exported import write_encoder
from aetransfer.transfer.settle import settle
from tests.commands import TorchlessProcess, run_command
from tests.integration.conftest import TINY

DATA_SETS = "cifar10, cifar100, digits, fashion_mnist, image_folder, mnist, photo_digits"
# Nothing listens at the discard port, so that this is what no network looks like, at once.
UNREACHABLE = "http://127.0.0.1:9/"


@pytest.fixture(scope="module")
def torchless(tmp_path_factory):
    with TorchlessProcess(tmp_path_factory.mktemp("cwd")) as process:
        yield process


@pytest.fixture
def write_config(tmp_path):
    """Write config files by name; returns the words that make them known."""

    def write(**files):
        for name, content in files.items():
            path = tmp_path / "configs" / f"{name}.yaml"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return "--config-dir", str(tmp_path / "configs")

    return write


def assert_refused(done, sentence):
    """One line, one period, no traceback, exit code 1."""
    assert done.err == f"error: {sentence}\n"
    assert done.code == 1
    assert_is_one_sentence(done.err)


def assert_is_one_sentence(err):
    assert err.count("\n") == 1
    assert err.startswith("error: ")
    assert err.endswith(".\n") and not err.endswith("..\n")
    assert not {part for part in ("?.", "?:", "::", "Traceback") if part in err}


UNKNOWN_ON_THE_COMMAND_LINE = [
    ("sed=1", "sed is no config key or group (did you mean seed)."),
    ("encoder.latent_dm=3", "encoder.latent_dm is no config key or group (did you mean encoder.latent_dim)."),
    ("latent_dim=3", "latent_dim is no config key or group (did you mean encoder.latent_dim)."),
    ("lr=1e-3", "lr is no config key or group (did you mean model.optimizer.lr)."),
    ("data.augment.flop=true", "data.augment.flop is no config key or group (did you mean data.augment.flip)."),
    ("pretrain.trainer.max_epoch=3", "pretrain.trainer.max_epoch is no config key or group (did you mean pretrain.trainer.max_epochs)."),
    ("callbacks.reconstruction.rows=3", "callbacks.reconstruction is no config key or group (did you mean callbacks.reconstructions)."),
    ("++trainer.max_epoch=1", "trainer.max_epoch is no config key or group (did you mean trainer.max_epochs)."),
    ("+encoder.width=[8]", "encoder.width is no config key or group (did you mean encoder.widths)."),
    ("~sed", "there is no sed to leave out (did you mean seed)."),
    ("hydra.sweep.dr=x", "hydra.sweep.dr is no config key or group."),
    ("trainer.max_epochs.most=1", "trainer.max_epochs.most is no config key or group (did you mean trainer.max_epochs)."),
    # Keys that there are, but not here.
    ("model.kl_weight=2", "model.kl_weight belongs to model=vae, which is not chosen."),
    ("pretrain.model.free_bits=2", "pretrain.model.free_bits belongs to model=vae, which is not chosen."),
    ("data.root=images", "data.root belongs to data=image_folder, which is not chosen."),
    ("pretrain.path=run", "pretrain.path belongs to pretrain=given, which is not chosen."),
    ("pretrain.encoder.latent_dim=8", "pretrain.encoder.latent_dim is no config key or group (did you mean encoder.latent_dim)."),
    # Groups, and their choices.
    ("encodr=conv4", "encodr is no config key or group (did you mean encoder)."),
    ("data@pretrain.dat=mnist", "data@pretrain.dat is no config key or group (did you mean data@pretrain.data)."),
    ("transfer=froze", "transfer=froze is no choice of transfer (did you mean frozen): there are finetune, finetune_layerwise, frozen, gradual, linear_probe, moments, random_frozen, random_linear_probe, scratch, shuffled."),
    ("data=cifar", f"data=cifar is no choice of data (did you mean cifar10): there are {DATA_SETS}."),
    ("data@pretrain.data=mnst", f"in pretrain/ae.yaml, data=mnst is no choice of data (did you mean mnist): there are {DATA_SETS}."),
    ("hydra/env=x", "hydra/env=x is no choice of hydra/env: there are default."),
    ("pretrain=vea", "pretrain=vea is no choice of pretrain (did you mean vae): there are ae, vae, or the path of a run directory, checkpoint or encoder."),
    ("data=null", f"data=null is no choice of data: there are {DATA_SETS}."),
    ("experiment=null", "experiment=null chooses nothing: to leave experiment out, write ~experiment."),
    ("data=[mnist,cifar10]", "data=[mnist,cifar10] merges several where data is one: choose one, or sweep over them with -m."),
    ("callbacks=[default,erly_stopping]", "callbacks=erly_stopping is no choice of callbacks (did you mean early_stopping): there are default, early_stopping, none."),
    ("data.augment={flop: true}", "data.augment.flop is no config key or group (did you mean data.augment.flip)."),
    ("~seed=1", "seed has another value than the one to leave out: write ~seed."),
    ("+data=mnist", "data is set already: leave out the + before it."),
    ("+seed=1", "seed is set already: leave out the + before it."),
]  # fmt: skip


@pytest.mark.parametrize(("word", "sentence"), UNKNOWN_ON_THE_COMMAND_LINE)
def test_an_unknown_name_on_the_command_line_is_refused_with_the_nearest(torchless, word, sentence):
    done = torchless("train", word)

    assert_refused(done, sentence)
    assert not done.torch


GLOBAL = "# @package _global_\n"
UNKNOWN_IN_A_FILE = [
    ("trainer: {max_epoch: 3}", "trainer.max_epoch is no config key or group (did you mean trainer.max_epochs)."),
    ("sede: 3", "sede is no config key or group (did you mean seed)."),
    ("encoder: {latent: 3}", "encoder.latent is no config key or group (did you mean encoder.latent_dim)."),
    ("model: {kl_weight: 2}", "model.kl_weight belongs to model=vae, which is not chosen."),
    ("pretrain: {data: {augment: {flop: true}}}", "pretrain.data.augment.flop is no config key or group (did you mean pretrain.data.augment.flip)."),
    ("defaults: [override /dat: mnist]", "in experiment/mine.yaml, dat is no config key or group (did you mean data)."),
    ("defaults: [/dat: mnist]", "in experiment/mine.yaml, dat is no config group (did you mean data)."),
    ("defaults: [override /transfer: froze]", "transfer=froze is no choice of transfer (did you mean frozen): there are finetune, finetune_layerwise, frozen, gradual, linear_probe, moments, random_frozen, random_linear_probe, scratch, shuffled."),
    ("trainer: {max_epochs: 0}", "trainer.max_epochs=0 should be greater than 0."),
    ("trainer: 3", "trainer=3 should be a group of keys."),
    ("model: null", "model=null should be a group of keys."),
    ("seed: ${sede}", "seed refers to sede, which is no config key (did you mean seed)."),
    ("seed: ${sede", "seed: no viable alternative at input '${sede'."),
    ("- seed", "in experiment/mine.yaml, Cannot merge DictConfig with ListConfig."),
]  # fmt: skip


@pytest.mark.parametrize(("content", "sentence"), UNKNOWN_IN_A_FILE)
def test_a_mistake_in_an_experiment_file_is_refused_like_one_on_the_command_line(
    torchless, write_config, content, sentence
):
    done = torchless("train", *write_config(**{"experiment/mine": GLOBAL + content}), "experiment=mine")

    assert_refused(done, sentence)
    assert not done.torch


def test_every_misspelt_key_of_a_file_is_named_at_once(torchless, write_config):
    mine = "defaults: [digits]\nagument: {flip: true}\naugment: {flop: true}"
    done = torchless("train", *write_config(**{"data/mine": mine}), "data=mine")

    assert_refused(
        done,
        "data.augment.flop is no config key or group (did you mean data.augment.flip); "
        "data.agument is no config key or group (did you mean data.augment).",
    )


def test_an_experiment_that_forgot_its_first_line_is_told_which(torchless, write_config):
    done = torchless("train", *write_config(**{"experiment/mine": "trainer: {max_epochs: 3}"}), "experiment=mine")

    assert_refused(done, "experiment is no config key: begin its file with the line `# @package _global_`.")


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        ("trainer: {max_epochs: 3", "expected ',' or '}', but got '<stream end>' in line 2"),
        ("trainer:\n\tmax_epochs: 3", r"found character '\t' that cannot start any token in line 3"),
        ("seed: 1\nseed: 2", "found duplicate key seed in line 3"),
    ],
)
def test_a_file_that_is_no_yaml_is_named(torchless, write_config, tmp_path, content, complaint):
    done = torchless("train", *write_config(**{"experiment/mine": GLOBAL + content}), "experiment=mine")

    assert_refused(done, f"{tmp_path}/configs/experiment/mine.yaml is no YAML: {complaint}.")
    assert not done.torch


def test_a_file_that_is_not_utf8_is_refused(torchless, write_config):
    done = torchless("train", *write_config(**{"experiment/mine": b"seed: \xff\xfe"}), "experiment=mine")

    assert done.code == 1
    assert_is_one_sentence(done.err)
    assert "'utf-8' codec can't decode byte 0xff" in done.err


WRONG_VALUES = [
    (["seed=-1"], "seed=-1 should be greater than or equal to 0."),
    (["seed=16777216"], "seed=16777216 should be less than 16777216."),
    (["seed=a"], "seed=a should be a valid integer."),
    (["seed=null"], "seed=null should be a valid integer."),
    (["seed=true"], "seed=true should be a number."),
    (["seed="], "seed= should be a valid integer."),
    (["pretrain.seed=-1"], "pretrain.seed=-1 should be greater than or equal to 0."),
    (["encoder.latent_dim=-1"], "encoder.latent_dim=-1 should be greater than 0."),
    (["encoder.widths=[]"], "encoder.widths=[] should have at least 1 item."),
    (["encoder.init=xavier"], "encoder.init=xavier should be 'he' or 'torch'."),
    (["data.val_fraction=1.5"], "data.val_fraction=1.5 should be less than 1."),
    (["data.val_fraction=0"], "data.val_fraction=0 should be greater than 0."),
    (["data.channels=2"], "data.channels=2 should be 1 or 3."),
    (["data.channels=true"], "data.channels=true should be a number."),
    (["data.batch_size=0"], "data.batch_size=0 should be greater than 0."),
    (["data.name=a/b"], r"data.name=a/b should match pattern '^\w[\w.-]*$'."),
    (["data.augment=true"], "data.augment=true should be a group of keys."),
    (["trainer.max_epochs=0"], "trainer.max_epochs=0 should be greater than 0."),
    (["trainer.devices=two"], "trainer.devices=two should be a valid integer or 'auto'."),
    (["trainer.accelerator=cuda"], "trainer.accelerator=cuda should be 'auto', 'cpu', 'gpu', 'mps' or 'tpu'."),
    (["model.optimizer.lr=0"], "model.optimizer.lr=0 should be greater than 0."),
    (["model.optimizer.lr=inf"], "model.optimizer.lr=inf should be a finite number."),
    (["model.optimizer.lr=nan"], "model.optimizer.lr=nan should be a finite number."),
    (["model.optimizer.lr=fast"], "model.optimizer.lr=fast should be a valid number."),
    (["model.name=gan"], "model.name=gan should be one of 'ae', 'vae', 'classifier'."),
    (["allow=my_lab"], "allow=my_lab should be a valid list."),
    (["~model.name"], "model.name is missing."),
    (["~data"], "data is missing."),
    (["seed=-1", "encoder.latent_dim=0"], "seed=-1 should be greater than or equal to 0; encoder.latent_dim=0 should be greater than 0."),
]  # fmt: skip


@pytest.mark.parametrize(("words", "sentence"), WRONG_VALUES)
def test_a_value_of_the_wrong_type_or_out_of_range_is_refused(torchless, words, sentence):
    done = torchless("train", *words)

    assert_refused(done, sentence)
    assert not done.torch


CONTRADICTIONS = [
    (
        ["data=image_folder"],
        "data.root must be given: add data.root=... to the command.",
    ),
    (
        ["data=image_folder", "data.root=x", "data.image_size=8"],
        "encoder conv4 halves its input 4 times and takes images of 16 pixels or more, not 8: "
        "raise data.image_size or data.pad, or shorten encoder.widths.",
    ),
    (
        ["data@pretrain.data=image_folder", "pretrain.data.root=x", "pretrain.data.image_size=8"],
        "encoder conv4 halves its input 4 times and takes images of 16 pixels or more, not 8: "
        "raise pretrain.data.image_size or pretrain.data.pad, or shorten encoder.widths.",
    ),
    (  # both flatten to 1024, so nothing later would notice
        ["data=cifar10", "data@pretrain.data=mnist", "pretrain.data.pad=0"],
        "The source's encoder takes 28x28 images, but cifar10 gives 32x32: "
        "set pretrain.data.pad or data.pad so that both agree.",
    ),
    (
        ["data=mnist", "data@pretrain.data=cifar10"],
        "transfer.channels=inflate goes from 1 to 3 channels, not from 3 to 1: set data.channels=3.",
    ),
    (
        ["data.labels_per_class=10", "data.train_fraction=0.5"],
        "data takes labels_per_class or train_fraction, not both.",
    ),
    (
        ["~pretrain", "transfer=frozen"],
        "transfer=frozen carries an encoder: say which with pretrain=ae, vae or PATH.",
    ),
    (["~head"], "model=classifier is a transfer and needs the transfer and head groups."),
]


@pytest.mark.parametrize(("words", "sentence"), CONTRADICTIONS)
def test_a_config_that_contradicts_itself_is_refused(torchless, words, sentence):
    done = torchless("train", *words)

    assert_refused(done, sentence)
    assert not done.torch


@pytest.mark.parametrize(
    "word",
    [
        *("transfer=frozen", "transfer.channels=grey", "head=linear", "head.hidden=[8]", "pretrain=vae"),
        *("pretrain.trainer.max_epochs=3", "data@pretrain.data=digits", "~pretrain"),
    ],
)
def test_a_pretraining_refuses_the_keys_of_the_other_stage(torchless, word):
    done = torchless("train", "experiment=mnist_ae", "seed=1", word)

    assert_refused(done, f"model=ae is a pretraining, so {word} has no meaning: leave it out.")
    assert not done.torch


def test_a_pretraining_refuses_the_path_of_another(torchless):
    done = torchless("train", "model=vae", "pretrain=./run")

    assert_refused(done, "model=vae is a pretraining, so pretrain.path=./run has no meaning: leave it out.")


def test_a_pretraining_does_not_mind_what_its_own_unused_nodes_would_refuse():
    """Seven halvings fit its own 128 pixels, and not the 32 of the default source of a transfer."""
    overrides = [
        "model=ae",
        "data=image_folder",
        "data.root=x",
        "data.image_size=128",
        "encoder.widths=[8,8,8,8,8,8,8]",
    ]

    assert settle(checked(composed("train", overrides), Job), overrides).pretrain is None


SPECIAL = "write key=value, and quote a value with special characters"
UNREADABLE = [
    (["seed"], f"seed is no override (missing EQUAL at '<EOF>'): {SPECIAL}."),
    (["seed=[0"], f"seed=[0 is no override (no viable alternative at input '[0'): {SPECIAL}."),
    (["seed=${"], f"seed=${{ is no override (extraneous input '{{' expecting <EOF>): {SPECIAL}."),
    (["=3"], "=3 has no key before its =."),
    (["--seed", "3"], "unrecognized arguments: --seed (see --help)."),
    (["--cfg", "everything"], "argument --cfg/-c: invalid choice: 'everything' (choose from 'job', 'hydra', 'all') (see --help)."),
    (["--resolve"], "The --resolve flag can only be used in conjunction with --cfg or --help."),
    (["--cfg", "job", "sed=1"], "sed is no config key or group (did you mean seed)."),
    (["--config-dir", "nowhere"], "--config-dir nowhere is no folder."),
    (["--config-name", "mine"], "The command has one config: to set much at once, write DIR/experiment/NAME.yaml and add --config-dir DIR experiment=NAME."),
    (["seed=${sede}"], "seed refers to sede, which is no config key (did you mean seed)."),
    (["seed=${oc.env:NO_SUCH_SEED}"], "seed: Environment variable 'NO_SUCH_SEED' not found."),
    (["seed=${twice:1}"], "seed: Unsupported interpolation type twice."),
    (["seed=0,1"], "seed=0,1 is a sweep over several values: add -m to run them all."),
    (["transfer=scratch,frozen"], "transfer=scratch,frozen is a sweep over several values: add -m to run them all."),
    (["seed=range(0,3)"], "seed=range(0,3) is a sweep over several values: add -m to run them all."),
    (["pretrain=ae,./run"], "pretrain=ae,./run mixes paths with named pretrainings: sweep over one kind at a time."),
]  # fmt: skip


@pytest.mark.parametrize(("words", "sentence"), UNREADABLE)
def test_a_command_line_that_can_not_be_read_is_refused(torchless, words, sentence):
    done = torchless("train", *words)

    assert_refused(done, sentence)
    assert not done.torch


SWEEPS = [
    (["seed=0", "encoder.latent_dim=32,-1"], "encoder.latent_dim=-1 should be greater than 0."),
    (["seed=0,1,-1", "encoder.latent_dim=32,64"], "seed=-1 should be greater than or equal to 0."),
    (["seed=range(-1,2)"], "seed=-1 should be greater than or equal to 0."),
    (["transfer=scratch,froze"], "transfer=froze is no choice of transfer (did you mean frozen): there are finetune, finetune_layerwise, frozen, gradual, linear_probe, moments, random_frozen, random_linear_probe, scratch, shuffled."),
    (["data=digits,cifar10", "data@pretrain.data=digits", "pretrain.data.pad=2"], "The source's encoder takes 36x36 images, but digits gives 32x32: set pretrain.data.pad or data.pad so that both agree."),
    (["model=classifier,ae", "transfer=frozen"], "model=ae is a pretraining, so transfer=frozen has no meaning: leave it out."),
    (["experiment=glob(nothing*)"], "experiment=glob(nothing*) gives no value to run."),
    (["experiment=glob(*_ae)", "sed=1"], "sed is no config key or group (did you mean seed)."),
    (["seed=range(0,0)"], "seed=range(0,0) gives no value to run."),
    (["seed=interval(0,1)"], "seed=interval(0,1) has endlessly many values: list them, or use range(first,end)."),
]  # fmt: skip


@pytest.mark.parametrize(("words", "sentence"), SWEEPS)
def test_a_sweep_with_one_bad_value_is_refused_before_its_first_job(torchless, words, sentence):
    done = torchless("train", "-m", *words)

    assert_refused(done, sentence)
    assert not done.torch


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        ([], "run must be given: add run=... to the command."),
        (["rn=x"], "rn is no config key or group (did you mean run)."),
        (["run=x", "split=tset"], "split=tset should be 'val' or 'test'."),
        (["run=x", "data=mnst"], f"data=mnst is no choice of data (did you mean mnist): there are {DATA_SETS}."),
        (["run=x", "transfer=frozen"], "transfer is no config key or group."),
        (["run=x", "accelerator=cuda"], "accelerator=cuda should be 'auto', 'cpu', 'gpu', 'mps' or 'tpu'."),
    ],
)
def test_an_evaluation_that_asks_for_what_there_is_not_is_refused(torchless, words, sentence):
    done = torchless("evaluate", *words)

    assert_refused(done, sentence)
    assert not done.torch


ALLOWED = "aetransfer, pytorch_lightning.callbacks, pytorch_lightning.loggers"


@pytest.mark.parametrize(
    "word",
    ["encoder._target_=os.system", "data.reader._target_=os.system", "pretrain.data.reader._target_=os.system"],
)
def test_a_target_outside_the_allowed_packages_is_refused_before_anything_is_imported(torchless, word):
    done = torchless("train", word)

    assert_refused(
        done,
        f"_target_: os.system is outside the packages that a config may call ({ALLOWED}): "
        "if it is yours, add allow=[os] to the command line.",
    )
    assert not done.torch


CONV4 = "aetransfer.networks.conv4"
READER = "aetransfer.data.embedded.read_digits"
GRID = "aetransfer.callbacks.images.ReconstructionGrid"
BAD_TARGETS = [
    ("encoder._target_=aetransfer.networks.conv4.Conv5", f"_target_: {CONV4} has no Conv5 (did you mean Conv4)."),
    ("encoder._target_=aetransfer.networks.conv5.Conv5", "_target_: aetransfer.networks.conv5.Conv5 can't be imported (No module named 'aetransfer.networks.conv5'): correct its name."),
    ("encoder._target_=aetransfer.networks.conv4.nn", f"_target_: {CONV4}.nn is not a class or function of the packages that a config may call."),
    ("encoder._target_=aetransfer.networks.head.Head", "aetransfer.networks.head.Head takes no latent_dim (it takes in_features, classes, hidden)."),
    ("+data.reader.rot=x", f"{READER} takes no rot (it takes split)."),
    ("callbacks.reconstructions.every_n_epochs=often", f"{GRID}: every_n_epochs=often should be a valid integer."),
    ("+callbacks.reconstructions.every_n_epoch=2", f"{GRID} takes no every_n_epoch (did you mean every_n_epochs)."),
    ("~callbacks.reconstructions.directory", f"{GRID}: missing a required argument: 'directory'."),
    ("callbacks.reconstructions.directory='{there}'", f"{GRID}: braces may hold run_dir, run_name, monitor, monitor_mode, not 'there'."),
    ("+callbacks.stop={_target_: pytorch_lightning.callbacks.EarlyStopping, monitor: val/loss, mode: least}", "pytorch_lightning.callbacks.EarlyStopping: `mode` can be min, max, got least."),
]  # fmt: skip


@pytest.mark.parametrize(("word", "sentence"), BAD_TARGETS)
def test_a_target_that_does_not_exist_or_does_not_take_its_keys_is_refused_before_training(
    run_train, tmp_path, word, sentence
):
    assert_refused(run_train("model=ae", "data=digits", "debug=fast_dev_run", word), sentence)
    assert not list(tmp_path.glob("outputs/**/*.ckpt"))


@pytest.mark.parametrize(
    ("word", "sentence"),
    [
        ("+callbacks.mine={_target_: aetransfer.callbacks.mine.Mine}", "_target_: aetransfer.callbacks.mine.Mine can't be imported (No module named 'aetransfer.callbacks.mine'): correct its name."),
        ("data.classes=12", "photo_digits has 10 classes, but data.classes=12: correct it."),
        ("data.image_size=16", "The source's encoder takes 32x32 images, but photo_digits gives 16x16: set pretrain.data.pad or data.pad so that both agree."),
        ("data.labels_per_class=4000", "data.labels_per_class=4000, but class '0' has 128 training images beside 14 for validation: lower it or data.val_fraction."),
    ],
)  # fmt: skip
def test_what_is_wrong_with_a_transfer_is_said_before_its_pretraining(run_train, tmp_path, word, sentence):
    assert_refused(run_train(*TINY, "transfer=frozen", "callbacks=default", word), sentence)
    assert not (tmp_path / "outputs").exists()


def test_an_output_directory_that_can_not_be_written_is_refused(run_train, tmp_path):
    (tmp_path / "taken").touch()
    done = run_train("model=ae", "data=digits", "debug=fast_dev_run", f"paths.output_dir={tmp_path}/taken")

    assert_refused(done, f"paths.output_dir={tmp_path}/taken can't be written (Not a directory).")


@pytest.fixture
def encoder(tmp_path):
    """An exported encoder of 8 latent dimensions for 1x32x32 images."""
    job = job_of("model=ae", "data=digits", *TINY[2:4])
    path = tmp_path / "encoder.safetensors"
    write_encoder(path, make_encoder(job), stages.architecture_of(job))
    return path


def job_of(*overrides):
    return settle(checked(composed("train", list(overrides)), Job), list(overrides))


def test_a_given_pretraining_that_does_not_exist_is_refused(torchless, tmp_path):
    done = torchless("train", f"pretrain={tmp_path}/run")

    assert_refused(
        done, f"{tmp_path}/run does not exist: pretrain= takes ae, vae, or a run directory, checkpoint or encoder."
    )
    assert not done.torch


def test_a_given_run_that_has_not_finished_is_refused(torchless, tmp_path):
    (tmp_path / "run" / "checkpoints").mkdir(parents=True)
    done = torchless("train", f"pretrain={tmp_path}/run")

    assert_refused(
        done,
        f"{tmp_path}/run has no encoder.safetensors: it is no run directory, or that run has not finished.",
    )
    assert not done.torch


def cut_short(path):
    path.write_bytes(path.read_bytes()[:-100])


def of_another_program(path):
    save_file(load_file(path), path)


def without_architecture(path):
    save_file(load_file(path), path, metadata={"aetransfer-encoder-1": ""})


def with_half_an_architecture(path):
    save_file(load_file(path), path, metadata={"aetransfer-encoder-1": '{"in_channels": 1}'})


def that_calls_something_else(path):
    architecture = {"_target_": "os.system", "latent_dim": 8, "in_channels": 1, "image_size": 32}
    metadata = {"aetransfer-encoder-1": json.dumps(architecture)}
    save_file(load_file(path), path, metadata=metadata)


def that_contradicts_the_schema(path):
    architecture = {"_target_": f"{CONV4}.Conv4", "latent_dim": -8, "in_channels": 1, "image_size": 32}
    metadata = {"aetransfer-encoder-1": json.dumps(architecture)}
    save_file(load_file(path), path, metadata=metadata)


BAD_ENCODERS = [
    (cut_short, "{} is truncated or no safetensors file (Error while deserializing header: incomplete metadata, file not fully covered)."),
    (of_another_program, "{} is no encoder of this program: its header does not say aetransfer-encoder-1."),
    (without_architecture, "{} is damaged: its header does not say which encoder it holds."),
    (with_half_an_architecture, "{} is damaged: what it says of its encoder lacks the class or the size of its images."),
    (that_calls_something_else, f"_target_: os.system is outside the packages that a config may call ({ALLOWED}): if it is yours, add allow=[os] to the command line."),
    (that_contradicts_the_schema, "encoder.latent_dim=-8 should be greater than 0."),
]  # fmt: skip


@pytest.mark.parametrize(("spoil", "sentence"), BAD_ENCODERS)
def test_a_damaged_or_foreign_encoder_is_refused_unread(torchless, encoder, spoil, sentence):
    spoil(encoder)
    done = torchless("train", f"pretrain={encoder}")

    assert_refused(done, sentence.format(encoder))
    assert not done.torch


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["data.pad=2"], "The source's encoder takes 32x32 images, but cifar10 gives 36x36: set data.pad or data.image_size to fit."),
        (["encoder.latent_dim=64"], "{} holds an encoder with latent_dim=8, but encoder.latent_dim=64 was asked for: leave that out, or pretrain such an encoder."),
        (["transfer.channels=repeat_source"], "{} was trained on 1-channel images, so transfer.channels=repeat_source comes too late: choose inflate or grey."),
    ],
)  # fmt: skip
def test_a_given_encoder_that_does_not_fit_what_was_asked_for_is_refused(torchless, encoder, words, sentence):
    done = torchless("train", f"pretrain={encoder}", *words)

    assert_refused(done, sentence.format(encoder))
    assert not done.torch


def test_a_given_encoder_is_taken_where_what_was_asked_for_is_what_it_is(encoder):
    overrides = ["pretrain=given", f"pretrain.path={encoder}", "encoder=conv4", "encoder.latent_dim=8"]

    assert job_of(*overrides).encoder.widths == [4, 8, 8, 8]


class Intruder:
    """Pickled, it makes a file when it is read."""

    def __init__(self, marker):
        self.marker = marker

    def __reduce__(self):
        return os.mkdir, (str(self.marker),)


def test_a_checkpoint_that_contains_code_is_refused_and_the_code_is_not_run(run_train, tmp_path):
    marker = tmp_path / "it-ran"
    content = {"state_dict": {}, "hyper_parameters": {"architecture": Intruder(marker)}}
    torch.save(content, tmp_path / "new.ckpt")
    torch.save(content, tmp_path / "old.ckpt", _use_new_zipfile_serialization=False)
    (tmp_path / "plain.ckpt").write_bytes(pickle.dumps(content))

    for name in ("new.ckpt", "old.ckpt", "plain.ckpt"):
        path = tmp_path / name
        done = run_train(f"pretrain={path}")

        assert_refused(done, f"{path} holds more than weights, or is damaged: it could run code and is not loaded.")
        assert not marker.exists()
    pickle.loads((tmp_path / "plain.ckpt").read_bytes())
    assert marker.exists()


@pytest.mark.parametrize(
    "content",
    [{"state_dict": {}}, {"hyper_parameters": None, "state_dict": {}}, {"hyper_parameters": {"architecture": {}}}, [1]],
)
def test_a_checkpoint_of_another_program_is_refused(run_train, tmp_path, content):
    path = tmp_path / "other.ckpt"
    torch.save(content, path)

    done = run_train(f"pretrain={path}")

    assert_refused(done, f"{path} is no checkpoint of this program: it does not say which encoder it holds.")


def test_a_truncated_checkpoint_is_refused(run_train, tmp_path):
    path = tmp_path / "cut.ckpt"
    torch.save({"state_dict": {"weight": torch.zeros(1000)}}, path)
    cut_short(path)

    done = run_train(f"pretrain={path}")

    assert done.code == 1
    assert_is_one_sentence(done.err)
    assert done.err.startswith(f"error: {path} is damaged or no checkpoint (")


@pytest.fixture(scope="module")
def finished_run(tmp_path_factory):
    job = job_of(*TINY, "transfer=scratch", f"paths.output_dir={tmp_path_factory.mktemp('outputs')}")
    return stages.run(job, []).directory


def test_a_run_that_does_not_exist_or_has_not_finished_is_not_evaluated(run_evaluate, finished_run, tmp_path):
    assert_refused(run_evaluate(f"run={tmp_path}/run"), f"{tmp_path}/run is no run directory: it has no config.yaml.")

    result = finished_run.result()
    finished_run.write_result(result | {"status": "interrupted"})
    try:
        done = run_evaluate(f"run={finished_run.path}")
    finally:
        finished_run.write_result(result)
    assert_refused(done, f"{finished_run.path} has not finished: the command that began it goes on where it stopped.")


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["data=digits", "data.pad=2"], "The run takes 32x32 images, but digits gives 36x36: set data.pad or data.image_size to fit."),
        (["data=image_folder", "data.root={}"], "The run tells 10 classes apart, but image_folder has 3: choose other data."),
    ],
)  # fmt: skip
def test_a_run_is_not_evaluated_on_data_of_another_shape(run_evaluate, finished_run, tmp_path, words, sentence):
    write_image_folder(tmp_path / "images")
    words = [word.format(tmp_path / "images") for word in words]

    assert_refused(run_evaluate(f"run={finished_run.path}", *words), sentence)


def write_image_folder(root):
    for split in ("train", "test"):
        for name in ("cat", "dog", "emu"):
            (root / split / name).mkdir(parents=True)
            for number in range(2):
                Image.new("RGB", (32, 32)).save(root / split / name / f"{number}.png")


def test_a_gpu_where_there_is_none_is_refused_before_a_transfer_pretrains(run_train, tmp_path, monkeypatch):
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 0)

    assert_refused(
        run_train(*TINY, "transfer=frozen", "trainer=gpu"),
        "trainer.accelerator=gpu with devices=1 is not to be had on this machine (No supported gpu backend found!): "
        "choose auto or cpu.",
    )
    assert not (tmp_path / "outputs").exists()


def test_data_that_is_neither_there_nor_to_be_downloaded_is_refused_with_where_to_put_it(
    run_train, tmp_path, monkeypatch
):
    monkeypatch.setattr(datasets.MNIST, "mirrors", [UNREACHABLE])
    (tmp_path / "data").mkdir()
    done = run_train("model=ae", "data=mnist")

    assert done.code == 1
    assert_is_one_sentence(done.err)
    assert done.err.startswith(f"error: No MNIST under {tmp_path}/data, and downloading it failed (")
    assert f"train-images-idx3-ubyte[.gz] and its three siblings in {tmp_path}/data/MNIST/raw" in done.err
    assert not list(tmp_path.glob("outputs/**/*.ckpt"))


@pytest.mark.parametrize(
    "words", [("train", "transfer=froze"), ("train", "-m", "seed=0", "encoder.latent_dim=32,-1"), ("evaluate", "rn=x")]
)
def test_a_new_process_says_the_same_and_leaves_nothing_behind(torchless, tmp_path, words):
    done = run_command(*words, cwd=tmp_path)

    assert done.returncode == 1
    assert done.stdout == ""
    assert done.stderr == torchless(*words).err
    assert not list(tmp_path.iterdir())


def dotted(node, prefix=""):
    for key, value in node.items():
        yield f"{prefix}{key}"
        if isinstance(value, DictConfig):
            yield from dotted(value, f"{prefix}{key}.")


VALID_KEYS = sorted(dotted(composed("train", [])))


@st.composite
def misspellings(draw):
    """A valid key with one letter left out, put in, changed, or swapped with the next."""
    key = draw(st.sampled_from(VALID_KEYS))
    at = draw(st.integers(0, len(key) - 1))
    letter = draw(st.sampled_from(string.ascii_lowercase + "_."))
    before, here, after = key[:at], key[at], key[at + 1 :]
    edited = draw(
        st.sampled_from([before + after, before + letter + here + after, before + letter + after, before + after[:1] + here + after[1:]])
    )  # fmt: skip
    assume(edited and edited not in VALID_KEYS)
    return edited


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(key=misspellings())
def test_every_key_with_one_wrong_letter_is_refused(torchless, key):
    done = torchless("train", f"{key}=1")

    assert done.code == 1, key
    assert_is_one_sentence(done.err)
    assert not done.torch
