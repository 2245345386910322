"""Given encoders and checkpoints that are damaged, foreign or dangerous: refused in one sentence, and nothing in them is run."""

import json
import os
import pickle

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from aetransfer.errors import UserError
from aetransfer.training import stages
from aetransfer.training.build import make_encoder
from aetransfer.transfer.exported import write_encoder
from aetransfer.transfer.loading import load_encoder
from tests.integration.conftest import ALLOWED, TINY, assert_is_one_sentence, assert_refused, job_of


@pytest.fixture
def encoder(tmp_path):
    """An exported encoder of 8 latent dimensions for 1x32x32 images."""
    job = job_of("model=ae", "data=digits", *TINY[2:4])
    path = tmp_path / "encoder.safetensors"
    write_encoder(path, make_encoder(job), stages.architecture_of(job))
    return path


@pytest.mark.parametrize("name", ["run", "Präsenz (2)/seed=1/it's"])
def test_a_given_pretraining_that_does_not_exist_is_refused(torchless, tmp_path, name):
    done = torchless("train", f"pretrain={tmp_path}/{name}")

    assert_refused(
        done,
        f"{tmp_path}/{name} does not exist: pretrain= takes the name of a model, or a run directory, checkpoint or encoder.",
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
    save_file(load_file(path), path, metadata={"aetransfer-encoder-1": '{"input_shape": [1, 32, 32]}'})


def that_calls_something_else(path):
    architecture = {"_target_": "os.system", "latent_dim": 8, "input_shape": [1, 32, 32]}
    metadata = {"aetransfer-encoder-1": json.dumps(architecture)}
    save_file(load_file(path), path, metadata=metadata)


def that_contradicts_the_schema(path):
    architecture = {"_target_": "aetransfer.networks.conv4.Conv4", "latent_dim": -8, "input_shape": [1, 32, 32]}
    metadata = {"aetransfer-encoder-1": json.dumps(architecture)}
    save_file(load_file(path), path, metadata=metadata)


def that_names_an_untrained_part_it_does_not_have(path):
    with safe_open(path, framework="pt") as opened:
        header = json.loads(opened.metadata()["aetransfer-encoder-1"])
    del header["checksum"]
    metadata = {"aetransfer-encoder-1": json.dumps(header | {"untrained": ["bottleneck", "decoder"]})}
    save_file(load_file(path), path, metadata=metadata)


BAD_ENCODERS = [
    (cut_short, "{} is truncated or no safetensors file (Error while deserializing header: incomplete metadata, file not fully covered)."),
    (of_another_program, "{} does not say what its images were standardised by: add the mean and deviation of each channel, of pixels in [0, 1] (ImageNet's are pretrain.mean=[0.485,0.456,0.406] pretrain.deviation=[0.229,0.224,0.225])."),
    (without_architecture, "{} is damaged: its header does not say which encoder it holds."),
    (with_half_an_architecture, "{} is damaged: what it says of its encoder lacks the class or the shape of its inputs."),
    (that_calls_something_else, f"_target_: os.system is outside the packages that the encoder of a config may come from ({ALLOWED['encoder']}): if it is yours, add allow=[os] to the command line."),
    (that_names_an_untrained_part_it_does_not_have, "{} is damaged: it says that ['bottleneck', 'decoder'] of its encoder is untrained, and there is no such part."),
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
        (["data.pad=2"], "The source's encoder takes 32x32 images, but cifar10 gives 36x36 images: set data.pad or data.image_size to fit."),
        (["encoder.latent_dim=64"], "{} holds an encoder with latent_dim=8, but encoder.latent_dim=64 was asked for: leave that out, or pretrain such an encoder."),
        (["transfer.channels=repeat_source"], "{} was trained on 1-channel images, so transfer.channels=repeat_source comes too late: choose inflate or grey."),
    ],
)  # fmt: skip
def test_a_given_encoder_that_does_not_fit_what_was_asked_for_is_refused(torchless, encoder, words, sentence):
    done = torchless("train", f"pretrain={encoder}", *words)

    assert_refused(done, sentence.format(encoder))
    assert not done.torch


def test_an_encoder_of_another_program_is_not_loaded_as_ours(encoder):
    of_another_program(encoder)

    with pytest.raises(UserError) as caught:
        load_encoder(encoder)
    assert (
        str(caught.value) == f"{encoder} is no encoder of this program: its header does not say aetransfer-encoder-1."
    )


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


def test_a_checkpoint_of_another_architecture_is_refused_with_its_path(run_train, finished_pretraining, tmp_path):
    path = tmp_path / "best.ckpt"
    content = torch.load(finished_pretraining / "checkpoints" / "best.ckpt", weights_only=True)
    del content["state_dict"]["encoder.bottleneck.bias"]
    torch.save(content, path)

    assert_refused(
        run_train(f"pretrain={path}", TINY[0], *TINY[6:]),
        f"The encoder in {path} is of another architecture: bottleneck.bias is missing.",
    )


@pytest.mark.parametrize("said", [("head",), "bottleneck", [3]])
def test_a_checkpoint_with_an_untrained_part_that_is_none_of_its_encoder_is_refused(
    run_train, finished, tmp_path, said
):
    path = tmp_path / "best.ckpt"
    content = torch.load(finished / "checkpoints" / "best.ckpt", weights_only=True)
    content["hyper_parameters"]["untrained"] = said
    torch.save(content, path)

    assert_refused(
        run_train(f"pretrain={path}", TINY[0], *TINY[6:]),
        f"{path} is damaged: it says that {said!r} of its encoder is untrained, and there is no such part.",
    )


def test_a_truncated_checkpoint_is_refused(run_train, tmp_path):
    path = tmp_path / "cut.ckpt"
    torch.save({"state_dict": {"weight": torch.zeros(1000)}}, path)
    cut_short(path)

    done = run_train(f"pretrain={path}")

    assert done.code == 1
    assert_is_one_sentence(done.err)
    assert done.err.startswith(f"error: {path} is damaged or no checkpoint (")
