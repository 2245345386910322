"""A plugin is installed and its package allowed: a stranger's run still calls nothing of it but a seat's own classes."""

import json

import pytest
import torch
import yaml
from safetensors import safe_open
from safetensors.torch import load_file, save_file

import aetransfer
from aetransfer import embed
from aetransfer.transfer.exported import CHECKSUM, FORMAT
from tests.integration.conftest import TINY
from tests.plugin import installed, write_plugin
from tests.security.conftest import assert_refused, change_config

pytestmark = pytest.mark.slow

# A function, one through a module that it imports, a class of no seat, one of another seat, and a script.
HOSTILE = ["my_lab.tools.delete_all", "my_lab.tools.os.system", "my_lab.tools.NoSeat", "my_lab.script.Anything"]


@pytest.fixture(autouse=True)
def plugin(tmp_path, monkeypatch, marker):
    monkeypatch.chdir(marker.parent)
    with installed(write_plugin(tmp_path / "site")):
        yield


@pytest.mark.parametrize("target", [*HOSTILE, "my_lab.model.Noisy", "my_lab.tools.made_elsewhere"])
def test_an_encoder_that_is_none_is_not_built(run_evaluate, run, target):
    best = run / "checkpoints" / "best.ckpt"
    content = torch.load(best, weights_only=True)
    config = yaml.safe_load((run / "config.yaml").read_text())
    change_config(run, encoder=config["encoder"] | {"_target_": target})
    content["hyper_parameters"]["architecture"]["_target_"] = target
    torch.save(content, best)

    assert_refused(run_evaluate(f"run={run}", "allow=[my_lab]"), "_target_: my_lab.")


@pytest.mark.parametrize("target", [*HOSTILE, "my_lab.network.Mine"])
@pytest.mark.parametrize("key", ["model", "reader"])
def test_a_model_or_a_reader_that_is_none_is_not_called(run_evaluate, run, target, key):
    config = yaml.safe_load((run / "config.yaml").read_text())
    if key == "model":
        change_config(run, model={"_target_": target, "name": "x"})
    else:
        change_config(run, data=config["data"] | {"reader": {"_target_": target}})

    assert_refused(run_evaluate(f"run={run}", "allow=[my_lab]"), "_target_: my_lab.")


@pytest.mark.parametrize("target", HOSTILE)
def test_an_encoder_of_weights_is_neither_loaded_nor_carried(command, run_train, run, target, tmp_path):
    path = run / "encoder.safetensors"
    with safe_open(path, framework="pt") as file:
        header = file.metadata()
    architecture = json.loads(header[FORMAT]) | {"_target_": target}
    del architecture[CHECKSUM]  # as in files of earlier versions
    save_file(load_file(path), path, metadata={FORMAT: json.dumps(architecture)})

    with pytest.raises(aetransfer.UserError, match="_target_: my_lab"):
        aetransfer.load_encoder(path, allow=["my_lab"])
    done = command(embed.main, f"run={path}", "data=photo_digits", f"out={tmp_path}/x.csv", "allow=[my_lab]")
    assert_refused(done, "_target_: my_lab.")
    words = [word for word in TINY if not word.startswith(("pretrain.", "data@pretrain", "encoder."))]
    assert_refused(run_train(*words, f"pretrain={path}", "transfer=frozen", "allow=[my_lab]"), "_target_: my_lab.")


@pytest.mark.parametrize("target", HOSTILE)
def test_a_strangers_file_calls_nothing_else_beside_an_option_that_allows_the_plugin(run_train, tmp_path, target):
    text = f"# @package _global_\ncallbacks:\n  x:\n    _target_: {target}\n"
    (tmp_path / "configs" / "experiment").mkdir(parents=True)
    (tmp_path / "configs" / "experiment" / "theirs.yaml").write_text(text)

    done = run_train("--config-dir", f"{tmp_path}/configs", "model=noisy", "data=digits", "experiment=theirs")
    assert_refused(done, "_target_: my_lab.")
