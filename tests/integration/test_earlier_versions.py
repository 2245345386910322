"""Encoders in a store of an earlier version: read, embedded with and carried, with the codes that they gave then."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from aetransfer.data.embedded import read_digits
from safetensors.torch import load_file

import aetransfer
from aetransfer import embed

STORE = Path(__file__).parents[1] / "data_of_earlier_versions" / "0.1.0-2026-11"
CODES = {name: torch.tensor(codes) for name, codes in json.loads((STORE / "codes.json").read_text()).items()}
CARRIED = ("data=digits", "trainer.max_epochs=1", "trainer.limit_train_batches=3", "logger=none", "callbacks=none")


@pytest.mark.parametrize("name", CODES)
def test_its_encoders_give_the_codes_that_they_gave_then(name):
    images = read_digits("test").images[:4].float() / 255
    for file in ("", "encoder.safetensors", "checkpoints/best.ckpt"):
        encoder = aetransfer.load_encoder(STORE / "runs" / name / file)
        assert encoder.input_shape == (1, 32, 32)
        torch.testing.assert_close(encoder(images), CODES[name], rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("name", CODES)
def test_they_embed_images(command, tmp_path, name):
    words = ("data=digits", "split=test", f"out={tmp_path}/codes.npz")
    done = command(embed.main, f"run={STORE}/runs/{name}", *words)

    assert done.code == 0, done.err
    codes = torch.from_numpy(np.load(tmp_path / "codes.npz")["features"][:4])
    torch.testing.assert_close(codes, CODES[name], rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("file", ["", "checkpoints/best.ckpt"])
def test_a_transfer_carries_them_whole(run_train, file):
    (name, *_) = CODES
    source = STORE / "runs" / name
    done = run_train("transfer=frozen", f"pretrain={source / file}", *CARRIED)

    assert done.code == 0, done.err
    carried, before = done.encoder, load_file(source / "encoder.safetensors")
    assert carried.keys() == before.keys()
    assert all(torch.equal(carried[key], before[key]) for key in before)


def test_what_is_written_today_says_input_shape(run_train):
    (name, *_) = CODES
    run = run_train("transfer=frozen", f"pretrain={STORE}/runs/{name}", *CARRIED).run
    checkpoint = torch.load(run / "checkpoints" / "best.ckpt", weights_only=True)

    header = (run / "encoder.safetensors").read_bytes()[:2000].decode(errors="replace")
    assert 'input_shape\\": [1, 32, 32]' in header and "image_size" not in header
    assert checkpoint["hyper_parameters"]["architecture"]["input_shape"] == [1, 32, 32]
    assert json.loads((run / "encoder.json").read_text())["input"]["shape"] == [1, 32, 32]
