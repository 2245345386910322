"""A stranger's run directory: evaluated, carried and resumed, and nothing in it runs or is written through."""

import json
import os
import shutil

import pytest
import torch
import yaml
from safetensors.torch import load_file, save_file

from aetransfer import runs
from aetransfer.transfer.exported import FORMAT
from tests.integration.conftest import TINY, job_of
from tests.report.store import change_result
from tests.security.conftest import Intruder, assert_refused, change_config

pytestmark = pytest.mark.slow


def contents(folder):
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def encoder(target, **keys):
    return {"_target_": target, "latent_dim": 8, **keys}


@pytest.mark.parametrize(
    "node",
    [
        {"encoder": encoder("os.system", command="touch it-ran")},
        {"encoder": encoder("os.system", command="touch it-ran"), "allow": ["os"]},
        {"encoder": encoder("aetransfer.files.replace_file", path="it-ran", content="x")},
        {"encoder": encoder("pytorch_lightning.loggers.CSVLogger", save_dir="it-ran")},
        {"encoder": encoder("aetransfer.networks.conv4.nn.os.system", command="touch it-ran")},
    ],
    ids=["os.system", "allowed by itself", "the program's own writer", "a logger", "through a module"],
)
def test_a_config_that_calls_something_else_is_not_evaluated(run_evaluate, run, marker, monkeypatch, node):
    monkeypatch.chdir(marker.parent)
    change_config(run, **node)

    assert_refused(run_evaluate(f"run={run}"))


@pytest.mark.parametrize(
    "reader",
    [
        {"_target_": "os.system", "command": "touch it-ran"},
        {"_target_": "aetransfer.files.replace_file", "path": "it-ran", "content": "x"},
        {
            "_target_": "aetransfer.data.readers.idx.fetch",
            "dataset": "MNIST",
            "root": "it-ran",
            "folder": "x",
            "needs": "",
        },
    ],
)
def test_a_reader_that_is_none_is_not_called(run_evaluate, run, marker, monkeypatch, reader):
    monkeypatch.chdir(marker.parent)
    config = yaml.safe_load((run / "config.yaml").read_text())
    change_config(run, data=config["data"] | {"reader": reader}, allow=["os"])

    assert_refused(run_evaluate(f"run={run}"))


def test_what_a_config_would_watch_or_write_is_left_out_of_an_evaluation(run_evaluate, run, marker, outside):
    config = yaml.safe_load((run / "config.yaml").read_text())
    hook = {"_target_": "pytorch_lightning.loggers.CSVLogger", "save_dir": str(marker)}
    paths = dict.fromkeys(("data_dir", "output_dir", "cache_dir"), str(marker))
    trainer = config["trainer"] | {"profiler": "simple"}
    change_config(run, logger={"x": hook}, callbacks={"x": dict(hook)}, paths=paths, trainer=trainer)
    (run / "profile-test.txt").symlink_to(outside / "profile-test.txt")
    before = contents(run)

    assert run_evaluate(f"run={run}").code == 0
    assert contents(run) == before


def test_a_config_says_nowhere_where_images_are_decoded_to_or_downloaded(run_evaluate, run, marker):
    config = yaml.safe_load((run / "config.yaml").read_text())
    reader = {
        "_target_": "aetransfer.data.readers.folder.read_folder",
        "root": str(run),
        "image_size": 32,
        "cache_dir": str(marker),
    }
    change_config(run, data=config["data"] | {"reader": reader})
    assert_refused(run_evaluate(f"run={run}"), f"{run} holds no image")

    for split in ("train", "test"):
        for number in range(10):
            (run / split / f"{number}").mkdir(parents=True)
            shutil.copy(torch_image(run), run / split / f"{number}")
    assert run_evaluate(f"run={run}").code == 0


def torch_image(folder):
    from PIL import Image

    Image.new("RGB", (32, 32)).save(folder / "grey.png")
    return folder / "grey.png"


YAML_BOMB = "a0: &a0 [x]\n" + "".join(f"a{n + 1}: &a{n + 1} [{', '.join([f'*a{n}'] * 10)}]\n" for n in range(30))


@pytest.mark.parametrize(
    "text",
    [
        "!!python/object/apply:os.system ['touch it-ran']",
        "seed: !!python/object/new:os.mkdir [it-ran]",
        "!!python/name:os.system",
        YAML_BOMB,
        "[" * 100_000,
        "- " * 100_000,
        "seed: " + "9" * 100_000,
    ],
    ids=["apply", "new", "name", "billion laughs", "nested", "nested lists", "endless number"],
)
def test_a_config_that_is_more_than_plain_data_is_refused_everywhere(
    run_evaluate, command, run, marker, monkeypatch, text, tmp_path
):
    monkeypatch.chdir(marker.parent)
    (run / "config.yaml").write_text(text)
    assert_refused(run_evaluate(f"run={run}"), f"{run}/config.yaml is not the config of a run")

    (tmp_path / "outputs" / "runs").mkdir(parents=True)
    shutil.move(run, tmp_path / "outputs" / "runs" / "theirs")
    done = command(runs.main, "list")
    assert done.code == 0
    assert "damaged: theirs: config.yaml can't be read" in done.out


@pytest.mark.parametrize(
    ("zipped", "sentence"),
    [(True, "it could run code and is not loaded"), (False, "damaged")],
    ids=["new format", "old format"],
)
def test_a_checkpoint_with_code_in_it_is_neither_evaluated_nor_resumed_from(
    run_evaluate, run_train, run, marker, zipped, sentence
):
    content = torch.load(run / "checkpoints" / "best.ckpt", weights_only=True)
    for name in ("best", "last"):
        hostile = content | {"callbacks": Intruder(marker)}
        torch.save(hostile, run / "checkpoints" / f"{name}.ckpt", _use_new_zipfile_serialization=zipped)
    assert_refused(run_evaluate(f"run={run}"), sentence)

    words = (*TINY, "transfer=scratch", "trainer=cpu")
    place = job_of(*words)
    from aetransfer.store.directory import RunDirectory

    mine = RunDirectory.of(place).path
    mine.parent.mkdir(parents=True)
    shutil.move(run, mine)
    change_result(mine, status="interrupted")
    assert_refused(run_train(*words), sentence)


def test_a_header_of_an_encoder_can_name_no_code_even_where_a_file_beside_it_allows_it(run_train, run, marker):
    path = run / "encoder.safetensors"
    for target in ("os.system", "aetransfer.files.replace_file", "tests.made.DropoutEncoder"):
        header = {"_target_": target, "latent_dim": 8, "input_shape": [3, 32, 32]}
        save_file(load_file(path), path, metadata={FORMAT: json.dumps(header)})
        change_config(run, allow=["os", "tests"])
        assert_refused(run_train(f"pretrain={run}", "data=photo_digits"), f"_target_: {target} is outside the packages")


def test_a_pretraining_that_goes_on_from_it_takes_weights_alone(run_train, run, marker):
    best = run / "checkpoints" / "best.ckpt"
    content = torch.load(best, weights_only=True)
    torch.save({**content, "state_dict": content["state_dict"] | {"decoder.x": Intruder(marker)}}, best)

    done = run_train("model=ae", "data=photo_digits", f"pretrain={run}")
    assert_refused(done, f"{best} holds more than weights")


@pytest.mark.parametrize("file", ["experiment/mine", "sweep/mine", "data/mine"])
def test_no_file_of_a_config_folder_allows_code(run_train, tmp_path, file):
    place = tmp_path / "configs" / f"{file}.yaml"
    place.parent.mkdir(parents=True)
    place.write_text(
        {"experiment/mine": "# @package _global_\nallow: [os]\nhydra: {overrides: {task: ['allow=[os]']}}\n",
         "sweep/mine": "params: {seed: '0,1'}\nset: {'++allow': '[os]'}\n",
         "data/mine": "# @package _global_\nallow: [os]\ndata: {name: mine}\n"}[file]
    )  # fmt: skip
    group, _, name = file.partition("/")
    words = ("-m",) if group == "sweep" else ()
    done = run_train(
        "--config-dir",
        str(tmp_path / "configs"),
        *words,
        f"{group}={name}",
        "data=digits" if group != "data" else "seed=1",
    )

    assert_refused(done)
    if group != "data":
        assert "no file may say whose code is run" in done.err


def test_an_evaluation_writes_through_no_link_of_the_run(run_evaluate, run, outside):
    for name in ("history.json", "train.log", "tensorboard"):
        (run / name).unlink(missing_ok=True)
        (run / name).symlink_to(outside / "thesis.tex")

    assert run_evaluate(f"run={run}").code == 0


def test_a_checkpoint_can_not_have_other_files_removed(run_train, outside):
    """A ModelCheckpoint removes what its state says was the best; Lightning sees that only the beginning is its own."""
    from aetransfer.store.directory import RunDirectory

    words = (*TINY, "transfer=scratch", "trainer=cpu", "scheduler=none")
    done = run_train(*words)
    mine = RunDirectory.of(job_of(*words, "trainer.max_epochs=6"))
    shutil.move(done.run, mine.path)
    change_result(mine.path, status="interrupted")
    content = torch.load(mine.last, weights_only=True)
    victim = f"{mine.checkpoints}/{os.path.relpath(outside, mine.checkpoints)}"
    (key,) = (key for key in content["callbacks"] if key.startswith("ModelCheckpoint"))
    content["callbacks"][key] |= {
        "dirpath": str(mine.checkpoints), "best_model_path": victim, "kth_best_model_path": victim,
        "best_k_models": {victim: torch.tensor(0.0)}, "kth_value": torch.tensor(0.0), "best_model_score": torch.tensor(0.0),
    }  # fmt: skip
    torch.save(content, mine.last)

    assert_refused(run_train(*words, "trainer.max_epochs=6"), "asks for", "to be removed")
