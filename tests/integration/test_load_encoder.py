"""aetransfer.load_encoder: an exported encoder in anybody's program; and the cards that stand beside it."""

import json
import os
import re
import shutil
import subprocess
import sys

import numpy as np
import pytest
import torch

import aetransfer
from aetransfer import embed
from aetransfer.errors import UserError
from aetransfer.transfer.exported import write_encoder
from tests.integration.conftest import TINY, TINY_PRETRAINING, assert_refused

BRIEF = ("trainer.max_epochs=1", "trainer.limit_train_batches=3", "logger=none")

IN_A_PROGRAM = """
import json, sys
import aetransfer
light = sorted({"torch", "numpy", "hydra", "omegaconf", "pydantic"} & set(sys.modules))
encoder = aetransfer.load_encoder(sys.argv[1])
import torch
codes = encoder(torch.zeros(2, 1, 32, 32))
heavy = {"hydra", "omegaconf", "pytorch_lightning", "lightning_fabric", "torchmetrics", "torchvision", "tensorboard"}
print(json.dumps([light, sorted(heavy & set(sys.modules)), list(codes.shape)]))
"""

MY_ENCODER = """
from math import prod

from aetransfer.networks.encoder import Encoder

class Flat(Encoder):
    def __init__(self, *, input_shape, latent_dim):
        super().__init__(input_shape=input_shape, latent_dim=latent_dim, num_features=prod(input_shape))

    def body(self, normalised):
        return normalised.flatten(1)
"""


@pytest.mark.slow
def test_a_program_that_loads_an_encoder_imports_neither_hydra_nor_lightning(finished_pretraining, tmp_path):
    words = [sys.executable, "-c", IN_A_PROGRAM, str(finished_pretraining)]
    done = subprocess.run(words, cwd=tmp_path, env={**os.environ}, capture_output=True, text=True)

    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == [[], [], [2, 8]]


def test_a_run_its_exported_file_and_its_checkpoint_hold_the_same_encoder(finished_pretraining):
    images = torch.rand(5, 1, 32, 32, generator=torch.Generator().manual_seed(0))
    encoders = [
        aetransfer.load_encoder(finished_pretraining / name)
        for name in ("", "encoder.safetensors", "checkpoints/best.ckpt")
    ]

    codes = encoders[0](images)
    assert codes.shape == (5, 8) and codes.std() > 0
    for encoder in encoders:
        assert not encoder.training
        assert torch.equal(encoder(images), codes)


def test_loading_leaves_the_callers_random_numbers_as_they_were(finished_pretraining):
    torch.manual_seed(0)
    expected = torch.rand(3)
    torch.manual_seed(0)
    aetransfer.load_encoder(finished_pretraining)

    assert torch.equal(torch.rand(3), expected)


@pytest.mark.parametrize(
    ("images", "sentence"),
    [
        (torch.rand(2, 3, 32, 32), r"takes inputs of \(N, 1, 32, 32\), got \(2, 3, 32, 32\)"),
        (torch.rand(1, 28, 28), r"takes inputs of \(N, 1, 32, 32\), got \(1, 28, 28\)"),
        (
            torch.zeros(2, 1, 32, 32, dtype=torch.uint8),
            r"floats, of images in \[0, 1\], got torch.uint8: divide an image's bytes by 255",
        ),
    ],
)
def test_images_that_the_encoder_does_not_take_are_a_clear_error(finished_pretraining, images, sentence):
    with pytest.raises(ValueError, match=sentence):
        aetransfer.load_encoder(finished_pretraining)(images)


def test_nothing_at_the_path_is_a_clear_error(tmp_path):
    with pytest.raises(UserError, match=r"encoder\.safetensors does not exist: give a run directory"):
        aetransfer.load_encoder(tmp_path / "encoder.safetensors")


def test_ones_own_encoder_is_built_where_its_package_is_allowed_and_only_there(tmp_path, monkeypatch):
    (tmp_path / "my_own_lab.py").write_text(MY_ENCODER)
    monkeypatch.syspath_prepend(tmp_path)
    import my_own_lab

    architecture = {"_target_": "my_own_lab.Flat", "latent_dim": 3, "input_shape": [1, 8, 8]}
    encoder = my_own_lab.Flat(input_shape=(1, 8, 8), latent_dim=3)
    write_encoder(tmp_path / "encoder.safetensors", encoder, architecture)
    images = torch.rand(2, 1, 8, 8)

    with pytest.raises(UserError, match=r"my_own_lab.Flat is outside the packages .*allow=\[my_own_lab\]"):
        aetransfer.load_encoder(tmp_path / "encoder.safetensors")
    loaded = aetransfer.load_encoder(tmp_path / "encoder.safetensors", allow=["my_own_lab"])
    assert torch.equal(loaded(images), encoder(images))


@pytest.mark.parametrize(("shape", "said"), [((5,), "vectors of 5 numbers"), ((2, 4, 6), "4x6 images in 2 channels")])
def test_an_encoder_of_other_inputs_than_images_is_loaded_and_embeds_arrays_alone(
    tmp_path, monkeypatch, command, shape, said
):
    (tmp_path / "vector_lab.py").write_text(MY_ENCODER)
    monkeypatch.syspath_prepend(tmp_path)
    import vector_lab

    path, encoder = tmp_path / "encoder.safetensors", vector_lab.Flat(input_shape=shape, latent_dim=3)
    write_encoder(path, encoder, {"_target_": "vector_lab.Flat", "latent_dim": 3, "input_shape": list(shape)})
    loaded = aetransfer.load_encoder(path, allow=["vector_lab"])

    assert torch.equal(loaded(torch.ones(2, *shape)), encoder(torch.ones(2, *shape)))
    assert not hasattr(loaded, "preprocess")
    assert_refused(
        command(embed.main, f"run={path}", "allow=[vector_lab]", f"images={tmp_path}", f"out={tmp_path}/codes.csv"),
        f"The encoder takes {said}, which no image files give: name an array with inputs=FILE (.npy or .npz), or "
        "data=NAME.",
    )
    inputs = np.full((3, *shape), 255, np.uint8)
    np.save(tmp_path / "mine.npy", inputs)
    words = [f"run={path}", "allow=[vector_lab]", f"inputs={tmp_path}/mine.npy", f"out={tmp_path}/codes.npz"]
    done = command(embed.main, *words)
    assert done.code == 0, done.err
    taken = torch.from_numpy(inputs).float() / (255 if len(shape) == 3 else 1)
    np.testing.assert_allclose(np.load(tmp_path / "codes.npz")["features"], encoder(taken).detach(), rtol=1e-5)


def snippet(card):
    return re.findall(r"```python\n(.*?)```", card, flags=re.S)[-1]


def test_the_card_loads_the_encoder_as_printed(finished, finished_pretraining, monkeypatch):
    for run in (finished, finished_pretraining):
        monkeypatch.chdir(run)
        made = {}
        exec(snippet((run / "MODEL_CARD.md").read_text()), made)

        assert made["codes"].shape == (4, 8)


def test_the_cards_tell_the_runs_numbers_and_what_to_read_beside_them(finished):
    result = json.loads((finished / "result.json").read_text())
    described = json.loads((finished / "encoder.json").read_text())
    page = (finished / "MODEL_CARD.md").read_text()

    assert described["metrics"] == result["metrics"]
    assert described["data"]["images"] == {part: result["counts"][part] for part in ("train", "val", "test")}
    assert described["data"]["class_names"] == [str(digit) for digit in range(10)]
    assert described["run"]["identity"] == result["identity"]
    assert f"| test/acc | {result['metrics']['test/acc']:.4g} |" in page
    assert "One run (n = 1) of seed 1" in page
    assert "chosen by val/acc on 143 images cut out of the training split; the 360 test images were used once" in page
    assert "transfer=scratch with the same seed" in page
    assert "trainer.limit_train_batches=3" in page


def test_what_the_card_says_of_the_input_is_what_the_encoder_does(finished_pretraining):
    described = json.loads((finished_pretraining / "encoder.json").read_text())
    encoder = aetransfer.load_encoder(finished_pretraining)

    assert described["normalisation"]["mean"] == encoder.normalise.mean.flatten().tolist()
    assert described["normalisation"]["deviation"] == encoder.normalise.deviation.flatten().tolist()
    assert described["input"]["shape"] == list(encoder.input_shape) == [1, 32, 32]
    assert described["latent_dim"] == encoder.latent_dim


def test_a_vaes_card_says_that_codes_are_means_and_nats_are_of_binarised_images(run_train):
    page = (run_train(*TINY_PRETRAINING, "model=vae", "data.pad=2", *BRIEF).run / "MODEL_CARD.md").read_text()

    assert "codes (N, 8), the posterior's mean" in page
    assert "freshly binarised images under a bernoulli likelihood" in page
    assert "(N, 1, 36, 36) in [0, 1]; this size includes zero padding of 2 pixels on each side" in page
    assert "on the 32x32 image, without its padding" in page


def test_a_finished_run_that_is_asked_for_again_keeps_its_cards(run_train):
    run = run_train(*TINY, "transfer=scratch").run
    assert "This is a control: nothing was carried into its encoder." in (run / "MODEL_CARD.md").read_text()
    (run / "MODEL_CARD.md").write_text("mine")
    shutil.move(run / "encoder.json", run / "elsewhere.json")

    assert run_train(*TINY, "transfer=scratch").code == 0
    assert (run / "MODEL_CARD.md").read_text() == "mine"
    assert not (run / "encoder.json").exists()
