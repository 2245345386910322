"""A config that can't run ends in one sentence and exit code 1, wherever it was written, before torch is imported."""

import pytest

from aetransfer.config.compose import checked, composed
from aetransfer.config.schema import Job
from aetransfer.transfer.resolve import resolve
from tests.integration.conftest import ALLOWED, DATA_SETS, assert_is_one_sentence, assert_refused

UNKNOWN_ON_THE_COMMAND_LINE = [
    ("sed=1", "sed is no config key or group (did you mean seed)."),
    ("encoder.latent_dm=3", "encoder.latent_dm is no config key or group (did you mean encoder.latent_dim)."),
    ("latent_dim=3", "latent_dim is no config key or group (did you mean encoder.latent_dim)."),
    ("lr=1e-3", "lr is no config key or group (did you mean optimizer.lr)."),
    ("augment=flp", "in data/_base.yaml, augment=flp is no choice of augment (did you mean flip): there are crop_flip, cutmix, flip, image_views, mixup, none, shift, signal, signal_views, simclr, strong, vector_views."),
    ("data.augment.crop.pading=2", "data.augment.crop.pading is no config key or group (did you mean data.augment.crop.padding)."),
    ("pretrain.data.augment.crop.padding=2", "pretrain.data.augment.crop belongs to augment=crop_flip, augment=shift, augment=signal, augment=signal_views, augment=strong, of which none is chosen."),
    ("data.augment.crop_padding=2", "data.augment.crop_padding has moved: write augment=crop_flip data.augment.crop.padding=4, or data.augment.crop=null to leave it out."),
    ("+pretrain.data.augment.flip=false", "pretrain.data.augment.flip has moved: write pretrain.augment=flip, or pretrain.data.augment.flip=null to leave it out."),
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
    ("model.optimizer.lr=1", "model.optimizer has moved: write optimizer.lr and the like, and scheduler for its schedule."),
    ("pretrain.model.optimizer.lr=1", "pretrain.model.optimizer has moved: write pretrain.optimizer.lr and the like, and pretrain.scheduler for its schedule."),
    ("optimizer.betsa=[0.9,0.9]", "optimizer.betsa is no config key or group (did you mean optimizer.betas)."),
    ("pretrain.model.free_bits=2", "pretrain.model.free_bits belongs to model=vae, which is not chosen."),
    ("data.root=images", "data.root belongs to data=arrays, data=image_folder, data=image_table, data=timeseries, of which none is chosen."),
    ("pretrain.path=run", "pretrain.path belongs to pretrain=given, which is not chosen."),
    ("pretrain.encoder.latent_dim=8", "pretrain.encoder.latent_dim is no config key or group (did you mean encoder.latent_dim)."),
    # What others call it, and what has no near relative.
    ("lr=1e-3", "lr is no config key or group (did you mean optimizer.lr)."),
    ("optimizer.name=adam", "optimizer.name is no config key: optimizer=NAME chooses one, optimizer._target_ a class of any package."),
    ("datamodule.batch_size=4", "datamodule is called data here: write data=NAME."),
    ("+pretrain.trainer.epochs=4", "pretrain.trainer.epochs is called pretrain.trainer.max_epochs here: write pretrain.trainer.max_epochs=VALUE."),
    ("task_name=mine", "task_name is no config key or group."),
    # Groups, and their choices.
    ("evaluation.probes.seed=1", "evaluation is not chosen: add evaluation=NAME, of classifier, fid, labels, probes, reconstruction, regression, representation, transferability, vae."),
    ("encodr=conv4", "encodr is no config key or group (did you mean encoder)."),
    ("data@pretrain.dat=mnist", "data@pretrain.dat is no config key or group (did you mean data@pretrain.data)."),
    ("transfer=froze", "transfer=froze is no choice of transfer (did you mean frozen): there are finetune, finetune_layerwise, frozen, gradual, linear_probe, moments, random_frozen, random_linear_probe, scratch, shuffled, transplant, transplant_frozen."),
    ("data=cifar", f"data=cifar is no choice of data (did you mean cifar10): there are {DATA_SETS}."),
    ("data@pretrain.data=mnst", f"in pretrain/declared.yaml, data=mnst is no choice of data (did you mean mnist): there are {DATA_SETS}."),
    ("hydra/env=x", "hydra/env=x is no choice of hydra/env: there are default."),
    ("pretrain=vea", "pretrain=vea is no choice of pretrain (did you mean vae): there are ae, classifier, contrastive, denoising, iwae, masked, multilabel, regressor, vae, vicreg, or the path of a run directory, checkpoint or encoder."),
    ("data=null", f"data=null is no choice of data: there are {DATA_SETS}."),
    ("experiment=null", "experiment=null chooses nothing: to leave experiment out, write ~experiment."),
    ("data=[mnist,cifar10]", "data=[mnist,cifar10] merges several where data is one: choose one, or sweep over them with -m."),
    ("callbacks=[default,erly_stopping]", "callbacks=erly_stopping is no choice of callbacks (did you mean early_stopping): there are default, early_stopping, none, probe."),
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


@pytest.mark.parametrize("word", ["pretrain=./run", "~pretrain"])
def test_an_experiment_that_pretrains_its_own_encoder_is_refused_where_there_is_no_place_for_it(torchless, word):
    done = torchless("train", "experiment=quickstart", word)

    assert_refused(
        done,
        "in experiment/digits_to_photo_digits.yaml, data@pretrain.data sets up a pretraining: leave out the experiment, "
        "or the pretrain that replaces it.",
    )


GLOBAL = "# @package _global_\n"
UNKNOWN_IN_A_FILE = [
    ("trainer: {max_epoch: 3}", "trainer.max_epoch is no config key or group (did you mean trainer.max_epochs)."),
    ("sede: 3", "sede is no config key or group (did you mean seed)."),
    ("encoder: {latent: 3}", "encoder.latent is no config key or group (did you mean encoder.latent_dim)."),
    ("model: {kl_weight: 2}", "aetransfer.models.classifier.Classifier takes no kl_weight (did you mean class_weights)."),
    ("pretrain: {data: {augment: {flop: true}}}", "pretrain.data.augment.flop=true should be a group of keys."),
    ("defaults: [override /dat: mnist]", "in experiment/mine.yaml, dat is no config key or group (did you mean data)."),
    ("defaults: [/dat: mnist]", "in experiment/mine.yaml, dat is no config group (did you mean data)."),
    ("defaults: [override /transfer: froze]", "transfer=froze is no choice of transfer (did you mean frozen): there are finetune, finetune_layerwise, frozen, gradual, linear_probe, moments, random_frozen, random_linear_probe, scratch, shuffled, transplant, transplant_frozen."),
    ("trainer: {max_epochs: 0}", "trainer.max_epochs=0 should be greater than 0."),
    ("trainer: 3", "trainer=3 should be a group of keys."),
    ("model: null", "model=null should be a group of keys."),
    ("seed: ${sede}", "seed refers to sede, which is no config key (did you mean seed)."),
    ("seed: ${sede", "seed: no viable alternative at input '${sede'."),
    ("- seed", "in experiment/mine.yaml, Cannot merge DictConfig with ListConfig."),
    ("model: {optimizer: {lr: 1}}", "model has optimizer, which is a group beside it now: optimizer=adam optimizer.lr=0.001 scheduler=cosine."),
    ("defaults: [override /pretrain: vae]", "pretrain: vae is written as override /model@pretrain: vae in a file."),
    ("defaults: [override /model@pretrain.model: vae]", "in experiment/mine.yaml, model@pretrain.model has moved: write pretrain=NAME, in a file model@pretrain: NAME."),
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
        "data.augment.flop=true should be a group of keys; "
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
    (["data.channels=0"], "data.channels=0 should be greater than 0."),
    (["data.channels=true"], "data.channels=true should be a number."),
    (["data.batch_size=0"], "data.batch_size=0 should be greater than 0."),
    (["data.name=a/b"], r"data.name=a/b should match pattern '^\w[\w.-]*$'."),
    (["data.augment=true"], "data.augment=true should be a group of keys."),
    (["trainer.max_epochs=0"], "trainer.max_epochs=0 should be greater than 0."),
    (["trainer.devices=two"], "trainer.devices=two should be a valid integer or 'auto'."),
    (
        ["trainer.strategy=ddp_spawn"],
        "trainer.strategy=ddp_spawn should be 'auto', 'ddp', 'ddp_find_unused_parameters_true' or 'fsdp'.",
    ),
    (["model=vae", "model.sigma=0"], "model.sigma=0 should be greater than 0."),
    (["model.monitor=null", "+model.monitor_mode=min"], "model has monitor_mode=min, but no monitor: set that too."),
    (["optimizer.lr=0"], "optimizer.lr=0 should be greater than 0."),
    (["optimizer.lr=inf"], "optimizer.lr=inf should be a finite number."),
    (["optimizer.lr=nan"], "optimizer.lr=nan should be a finite number."),
    (["optimizer.lr=fast"], "optimizer.lr=fast should be a valid number."),
    (["model.name=a gan"], "model.name=a gan should match pattern '^\\w[\\w.-]*$'."),
    (["allow=my_lab"], "allow=my_lab should be a valid list."),
    (["~model._target_"], "model._target_ is missing."),
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
        "The source's encoder takes 28x28 images, but cifar10 gives 32x32 images: "
        "set pretrain.data.pad or data.pad so that both agree.",
    ),
    (
        ["data=mnist", "data@pretrain.data=cifar10"],
        "transfer.channels=inflate goes from 1 channel to several, not from 3 to 1: set data.channels=3.",
    ),
    (
        ["data.labels_per_class=10", "data.train_fraction=0.5"],
        "data takes labels_per_class or train_fraction, not both.",
    ),
    (
        ["~pretrain", "transfer=frozen"],
        "transfer=frozen carries an encoder: say which with pretrain=MODEL or pretrain=PATH.",
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
        *("transfer=frozen", "transfer.channels=grey", "head=linear", "head.hidden=[8]"),
        *("pretrain.trainer.max_epochs=3", "data@pretrain.data=digits", "~pretrain"),
    ],
)
def test_a_pretraining_refuses_the_keys_of_the_other_stage(torchless, word):
    done = torchless("train", "experiment=mnist_ae", "seed=1", word)

    assert_refused(done, f"model=ae is a pretraining, so {word} has no meaning: leave it out.")
    assert not done.torch


def test_a_pretraining_continues_no_other_that_it_only_declares(torchless):
    done = torchless("train", "model=iwae", "data=mnist", "pretrain=vae")

    assert_refused(
        done,
        "model=iwae is a pretraining, so pretrain=vae has no meaning: leave it out, or give a run to go on from "
        "(pretrain=PATH).",
    )
    assert not done.torch


def test_a_pretraining_does_not_mind_what_its_own_unused_nodes_would_refuse():
    """Seven halvings fit its own 128 pixels, and not the 32 of the default source of a transfer."""
    overrides = [
        "model=ae",
        "data=image_folder",
        "data.root=x",
        "data.image_size=128",
        "encoder.widths=[8,8,8,8,8,8,8]",
    ]

    assert resolve(checked(composed("train", overrides), Job), overrides).pretrain is None


@pytest.mark.parametrize(
    "word",
    ["encoder._target_=os.system", "data.reader._target_=os.system", "pretrain.data.reader._target_=os.system"],
)
def test_a_target_outside_the_allowed_packages_is_refused_before_anything_is_imported(torchless, word):
    role = "encoder" if word.startswith("encoder") else "reader"
    done = torchless("train", word)

    assert_refused(
        done,
        f"_target_: os.system is outside the packages that the {role} of a config may come from ({ALLOWED[role]}): "
        "if it is yours, add allow=[os] to the command line.",
    )
    assert not done.torch


CONV4 = "aetransfer.networks.conv4"
READER = "aetransfer.data.readers.embedded.read_digits"
GRID = "aetransfer.training.callbacks.images.ReconstructionGrid"
BAD_TARGETS = [
    ("encoder._target_=aetransfer.networks.conv4.Conv5", f"_target_: {CONV4} has no Conv5 (did you mean Conv4)."),
    ("encoder._target_=aetransfer.networks.conv5.Conv5", "_target_: aetransfer.networks.conv5.Conv5 can't be imported (No module named 'aetransfer.networks.conv5'): correct its name."),
    ("encoder._target_=aetransfer.networks.head.Head", "aetransfer.networks.head.Head takes no latent_dim (it takes in_features, outputs, hidden)."),
    ("+data.reader.rot=x", f"{READER} takes no rot (it takes nothing)."),
    ("callbacks.reconstructions.every_n_epochs=often", f"{GRID}: every_n_epochs=often should be a valid integer."),
    ("callbacks.reconstructions.every_n_epochs=0", f"{GRID}: every_n_epochs=0 should be greater than 0."),
    ("+callbacks.reconstructions.every_n_epoch=2", f"{GRID} takes no every_n_epoch (did you mean every_n_epochs)."),
    ("~callbacks.reconstructions.directory", f"{GRID}: missing a required argument: 'directory'."),
    ("+callbacks.report={_target_: aetransfer.training.callbacks.targets.ClassReport, folder: x}", "aetransfer.training.callbacks.targets.ClassReport takes no folder (it takes directory)."),
    ("+callbacks.stop={_target_: pytorch_lightning.callbacks.EarlyStopping, monitr: val/loss}", "pytorch_lightning.callbacks.early_stopping.EarlyStopping takes no monitr (did you mean monitor)."),
    ("+logger.mine={_target_: aetransfer.training.callbacks.curves.ContinuedCSVLogger, save_dri: x}", "aetransfer.training.callbacks.curves.ContinuedCSVLogger takes no save_dri (did you mean save_dir)."),
]  # fmt: skip


@pytest.mark.parametrize(("word", "sentence"), BAD_TARGETS)
def test_a_target_that_does_not_exist_or_does_not_take_its_keys_is_refused(torchless, word, sentence):
    done = torchless("train", "model=ae", "data=digits", "debug=fast_dev_run", word)

    assert_refused(done, sentence)
    assert not done.torch


FILES_WITH_BAD_TARGETS = [
    ("callbacks", "defaults: [default]\nreconstructions: {every_n_epoch: 2}", f"{GRID} takes no every_n_epoch (did you mean every_n_epochs)."),
    ("logger", "defaults: [csv]\ncsv: {save_dri: x}", "aetransfer.training.callbacks.curves.ContinuedCSVLogger takes no save_dri (did you mean save_dir)."),
    ("data", "defaults: [digits]\nreader: {splitt: x}", f"{READER} takes no splitt (did you mean split)."),
]  # fmt: skip


@pytest.mark.parametrize(("group", "content", "sentence"), FILES_WITH_BAD_TARGETS)
def test_a_key_that_a_file_gives_to_a_target_in_vain_is_refused(torchless, write_config, group, content, sentence):
    done = torchless("train", *write_config(**{f"{group}/mine": content}), "data=digits", "model=ae", f"{group}=mine")

    assert_refused(done, sentence)
    assert not done.torch


@pytest.mark.parametrize("command", ["evaluate", "embed"])
def test_a_reader_of_a_command_that_measures_is_refused_as_well(torchless, command, tmp_path):
    out = [f"out={tmp_path}/codes.csv"] if command == "embed" else []
    done = torchless(command, "run=nowhere", "data=digits", "+data.reader.rot=x", *out)

    assert_refused(done, f"{READER} takes no rot (it takes nothing).")
    assert not done.torch


BUILT_IN_VAIN = [
    ("encoder._target_=aetransfer.networks.conv4.nn", f"_target_: {CONV4}.nn is not a class or function of the packages that a config may call."),
    ("callbacks.reconstructions.directory='{there}'", f"{GRID}: braces may hold run_dir, run_name, monitor, monitor_mode, not 'there'."),
    ("+callbacks.stop={_target_: pytorch_lightning.callbacks.EarlyStopping, monitor: val/loss, mode: least}", "pytorch_lightning.callbacks.EarlyStopping: `mode` can be min, max, got least."),
]  # fmt: skip


@pytest.mark.parametrize(("word", "sentence"), BUILT_IN_VAIN)
def test_what_only_shows_when_a_target_is_called_is_refused_before_training(run_train, tmp_path, word, sentence):
    assert_refused(run_train("model=ae", "data=digits", "debug=fast_dev_run", word), sentence)
    assert not list(tmp_path.glob("outputs/**/*.ckpt"))
