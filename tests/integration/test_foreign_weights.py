"""Weights that others trained: whole files of them are taken, by whatever prefix, or refused with what is missing."""

import argparse
import random
import subprocess
import sys
from functools import cache

import pytest
import torch
from safetensors.torch import save_file
from torchvision.models import resnet18

from aetransfer import embed, export, predict
from aetransfer.config.schema import GivenEncoder
from aetransfer.errors import UserError
from aetransfer.store.identity import config_digest
from aetransfer.training.build import make_encoder
from aetransfer.transfer.carry import initialise_, make_arm
from aetransfer.transfer.foreign import take_
from tests.integration.conftest import assert_is_one_sentence, assert_refused, job_of
from tests.integration.test_bad_encoder import Intruder

IMAGENET = ("pretrain.mean=[0.485,0.456,0.406]", "pretrain.deviation=[0.229,0.224,0.225]")
STATISTICS = {"mean": [0.485, 0.456, 0.406], "deviation": [0.229, 0.224, 0.225]}
RESNET = ("encoder=torchvision", "data=photo_digits", "data.channels=3")


@cache
def drawn(seed):
    torch.manual_seed(seed)
    network = resnet18()
    network.bn1.running_var.uniform_(1, 2)
    return network.state_dict()


def weights(seed=0):
    return dict(drawn(seed))


def prefixed(prefix, seed=0):
    return {f"{prefix}{key}": value for key, value in weights(seed).items()}


def encoder_of(*words):
    torch.manual_seed(9)
    return make_encoder(job_of(*RESNET, "transfer=scratch", *words))


def taken(content, tmp_path, *words, **said):
    path = tmp_path / "weights.pth"
    torch.save(content, path)
    encoder = encoder_of(*words)
    return encoder, take_(encoder, GivenEncoder(path=str(path), **(STATISTICS | said)))


def is_of(encoder, seed):
    state = encoder.net.state_dict()
    return state.keys() == weights().keys() - {"fc.weight", "fc.bias"} and all(
        torch.equal(value, weights(seed)[key]) for key, value in state.items()
    )


FILES = {
    "": lambda: weights(),
    "state_dict.": lambda: {"state_dict": weights(), "epoch": 7, "optimizer": {"state": {0: {"exp_avg": torch.zeros(3)}}}},
    "module.": lambda: prefixed("module."),
    "model._orig_mod.": lambda: {"model": prefixed("_orig_mod.")},
    "teacher.backbone.": lambda: {"student": prefixed("module.backbone.", seed=1), "teacher": prefixed("backbone.")},
    "state_dict.module.encoder_q.": lambda: {"state_dict": prefixed("module.encoder_k.", seed=1) | prefixed("module.encoder_q.")},
    "model.encoder.": lambda: {"model": prefixed("encoder.") | {"decoder.weight": torch.zeros(3)}, "args": argparse.Namespace(lr=1)},
}  # fmt: skip


@pytest.mark.parametrize("prefix", FILES)
def test_the_network_is_found_under_its_prefix_and_all_else_is_left(tmp_path, prefix):
    encoder, report = taken(FILES[prefix](), tmp_path)

    assert is_of(encoder, seed=0)
    assert report.prefix == prefix
    assert report.tensors == len(encoder.net.state_dict())
    assert report.fresh == ()
    assert {f"{prefix}fc.weight", f"{prefix}fc.bias"} <= {*report.left}
    assert torch.allclose(encoder.normalise.mean.flatten(), torch.tensor(STATISTICS["mean"]))


def test_a_safetensors_file_and_one_of_half_precision_are_taken(tmp_path):
    path = tmp_path / "model.safetensors"
    save_file({key: value.half() if value.is_floating_point() else value for key, value in weights().items()}, path)
    encoder = encoder_of()
    take_(encoder, GivenEncoder(path=str(path), **STATISTICS))

    assert encoder.net.conv1.weight.dtype == torch.float32
    assert torch.equal(encoder.net.conv1.weight, weights()["conv1.weight"].half().float())


def test_a_prefix_chooses_what_a_file_holds_twice(tmp_path):
    twice = {"ema": weights(), "raw": weights(seed=1)}

    with pytest.raises(UserError, match=r"holds the encoder 2 times: choose one with pretrain.prefix=ema or pretrain.prefix=raw\.$"):  # fmt: skip
        taken(twice, tmp_path)
    for prefix, seed in (("ema", 0), ("raw.", 1)):
        assert is_of(taken(twice, tmp_path, prefix=prefix)[0], seed)


def test_a_bottleneck_starts_fresh_and_so_it_is_said(tmp_path):
    encoder, report = taken(weights(), tmp_path, "encoder.latent_dim=6")
    torch.manual_seed(9)

    assert report.fresh == ("bottleneck",)
    assert torch.equal(encoder.bottleneck.weight, encoder_of("encoder.latent_dim=6").bottleneck.weight)
    assert ", the bottleneck starts fresh, and 2 tensors of the file are left (fc.weight, fc.bias)." in report.sentence


CONV4 = ("data=digits", "encoder.widths=[4,8]", "encoder.latent_dim=8", "transfer=scratch")


def test_any_encoder_takes_weights_and_its_bottleneck_with_them(tmp_path):
    for prefix in ("", "encoder."):
        theirs, ours = (make_encoder(job_of(*CONV4)) for _ in range(2))
        torch.save({f"{prefix}{key}": value for key, value in theirs.state_dict().items()}, tmp_path / "mine.pt")
        report = take_(ours, GivenEncoder(path=str(tmp_path / "mine.pt"), mean=[0.5], deviation=[0.25]))

        assert (report.tensors, report.fresh) == (6, ())
        assert {*report.left} == {f"{prefix}normalise.mean", f"{prefix}normalise.deviation"}
        assert all(
            torch.equal(value, ours.state_dict()[key])
            for key, value in theirs.state_dict().items()
            if "norm" not in key
        )
        assert ours.normalise.deviation.item() == 0.25


@pytest.mark.parametrize("ending", ["pth", "safetensors"])
def test_broken_files_of_weights_are_refused_in_a_sentence(tmp_path, ending):
    whole, path = tmp_path / f"whole.{ending}", tmp_path / f"broken.{ending}"
    state = make_encoder(job_of(*CONV4)).state_dict()
    save_file(state, whole) if ending == "safetensors" else torch.save(state, whole)
    content, draw = whole.read_bytes(), random.Random(0)

    for number in range(30):
        # Where a file says what it holds: a flipped bit of a weight is another weight.
        place = draw.randrange(8, 300)
        flipped = bytes([content[place] ^ 1 << draw.randrange(8)])
        path.write_bytes(
            content[: draw.randrange(len(content))] if number % 2 else content[:place] + flipped + content[place + 1 :]
        )
        try:
            job = job_of(
                *CONV4[:3],
                "transfer=frozen",
                "pretrain=given",
                f"pretrain.path={path}",
                "pretrain.mean=[0.5]",
                "pretrain.deviation=[0.2]",
            )
            take_(make_encoder(job), job.pretrain)
        except UserError as error:
            assert_is_one_sentence(f"error: {error}\n")
        else:
            assert not number % 2


def test_names_in_a_file_are_no_markup(tmp_path):
    _, report = taken(weights() | {"<script>[x](http://y)\n": torch.zeros(1)}, tmp_path)

    assert report.as_dict()["left"][-1] == "?script??x??http:??y??"
    assert "?script??x??http:??y??" in report.sentence


def without(*names):
    return {key: value for key, value in weights().items() if key not in names}


@pytest.mark.parametrize(
    ("content", "said", "sentence"),
    [
        (without("layer4.1.bn2.running_var"), {}, "{} are of another network than the encoder, of whose 120 tensors 1 are missing (layer4.1.bn2.running_var)."),
        (weights() | {"conv1.weight": torch.zeros(64, 1, 7, 7)}, {}, "{} are of another network than the encoder, of whose 120 tensors conv1.weight is (64, 1, 7, 7) instead of (64, 3, 7, 7)."),
        (weights() | {"conv1.weight": torch.zeros(64, 3, 7, 7, dtype=torch.int8)}, {}, "{} are of another network than the encoder, of whose 120 tensors conv1.weight is (64, 3, 7, 7) of torch.int8 instead of (64, 3, 7, 7)."),
        ({"stem.weight": torch.zeros(3)}, {}, "lacks 100 of the encoder's 120 tensors (conv1.weight, bn1.weight, bn1.bias, bn1.running_mean, bn1.running_var, 95 more) and has stem.weight: choose the network"),
        ([1, 2], {}, "and has none: choose the network"),
        (weights(), {"prefix": "teacher"}, "lacks 100 of the encoder's 120 tensors"),
        (weights(), {"mean": [0.5], "deviation": [0.5]}, "pretrain.mean is of 1 channels, and the data have 3: set data.channels=1."),
        ({"state_dict": {}, "hyper_parameters": {"architecture": {}}}, {}, "is a checkpoint of this program: let its name end in .ckpt."),
    ],
)  # fmt: skip
def test_what_is_not_the_whole_network_is_refused_with_what_is_missing(tmp_path, content, said, sentence):
    before = encoder_of().state_dict()

    with pytest.raises(UserError) as caught:
        taken(content, tmp_path, **said)
    assert sentence.format(f"The weights in {tmp_path}/weights.pth") in str(caught.value)
    assert_is_one_sentence(f"error: {caught.value}\n")
    assert all(torch.equal(value, before[key]) for key, value in encoder_of().state_dict().items())


def test_weights_that_contain_code_are_refused_and_the_code_is_not_run(run_train, tmp_path):
    marker = tmp_path / "it-ran"
    content = {"model": weights(), "args": Intruder(marker)}
    torch.save(content, tmp_path / "new.pth")
    torch.save(content, tmp_path / "old.pt", _use_new_zipfile_serialization=False)

    for name in ("new.pth", "old.pt"):
        done = run_train(f"pretrain={tmp_path / name}", *RESNET, *IMAGENET)
        assert_refused(done, f"{tmp_path / name} holds more than weights, or is damaged: it could run code and is not loaded.")  # fmt: skip
        assert not marker.exists()


@pytest.mark.parametrize(
    ("name", "words", "sentence"),
    [
        ("none.pth", [], "{} does not exist: pretrain= takes the name of a model, or a run directory, checkpoint or encoder."),
        ("weights.npz", [], "{} ends in .npz: pretrain= takes a run's directory, its .ckpt or .safetensors, or others' weights in .safetensors, .pth, .pt or .bin."),
        ("weights.pth", [], "{} does not say what its images were standardised by: add the mean and deviation of each channel, of pixels in [0, 1] (ImageNet's are pretrain.mean=[0.485,0.456,0.406] pretrain.deviation=[0.229,0.224,0.225])."),
        ("weights.pth", [IMAGENET[0]], "pretrain has one of mean and deviation: give both."),
        ("weights.pth", [*IMAGENET, "pretrain.deviation=[1]"], "pretrain has mean and deviation of different lengths: give one number a channel."),
        ("weights.pth", [*IMAGENET, "transfer.channels=grey"], "transfer.channels=grey is for encoders of this program: others' weights take data.channels=3."),
    ],
)  # fmt: skip
def test_what_can_be_said_without_torch_is(torchless, tmp_path, name, words, sentence):
    for made in ("weights.pth", "weights.npz"):
        (tmp_path / made).write_bytes(b"")
    done = torchless("train", f"pretrain={tmp_path / name}", *RESNET, *words)

    assert_refused(done, sentence.format(tmp_path / name))
    assert not done.torch


def test_the_weights_are_part_of_the_identity_where_they_are_carried(tmp_path):
    paths = [tmp_path / "a.pth", tmp_path / "again.pth", tmp_path / "b.pth"]
    for path, content in zip(paths, (b"a", b"a", b"b"), strict=True):
        path.write_bytes(content)

    def digest(path, *words):
        return config_digest(job_of(*RESNET, "pretrain=given", f"pretrain.path={path}", *IMAGENET, *words))

    first, again, other = (digest(path) for path in paths)
    assert first == again != other
    assert first != digest(paths[0], "pretrain.mean=[0.5,0.5,0.5]")
    assert first != digest(paths[0], "pretrain.prefix=teacher")
    assert digest(paths[0], "transfer=scratch") == digest(paths[2], "transfer=scratch")


@pytest.mark.parametrize("arm", ["shuffled", "moments", "transplant"])
def test_the_arms_that_take_something_away_do_so(tmp_path, arm):
    path = tmp_path / "weights.pth"
    torch.save(weights(), path)
    more = ["transfer.transplanted=2"] if arm == "transplant" else []
    job = job_of(*RESNET, "pretrain=given", f"pretrain.path={path}", *IMAGENET, f"transfer={arm}", *more)
    encoder = encoder_of()
    begun = initialise_(encoder, str(path), make_arm(job.transfer, []), 0, job.pretrain)
    stem, last = encoder.net.conv1.weight, encoder.net.layer4[1].conv2.weight
    theirs, fresh = weights(), encoder_of().net.layer4[1].conv2.weight

    assert begun.taken is not None and begun.taken.tensors == 120
    assert torch.equal(stem, theirs["conv1.weight"]) == (arm == "transplant")
    assert torch.equal(last, fresh) == (arm == "transplant")
    if arm == "shuffled":
        assert torch.equal(last.flatten().sort().values, theirs["layer4.1.conv2.weight"].flatten().sort().values)


def test_timm_without_timm_is_refused_with_its_extra(torchless, tmp_path, monkeypatch):
    for word in ("resnet18", "resnet18.a1_in1k"):
        done = torchless("train", "pretrain=timm", *RESNET, f"encoder.model={word}")
        assert_refused(done, "pretrain=timm takes the weights that timm has for its networks: add encoder=timm.")


def test_timms_own_weights_are_fetched_with_their_mean_and_deviation(tmp_path, monkeypatch):
    timm, hub = pytest.importorskip("timm"), pytest.importorskip("huggingface_hub")
    torch.manual_seed(0)
    network = timm.create_model("resnet18")
    save_file(network.state_dict(), tmp_path / "model.safetensors")
    asked = []

    def fetch(*place, **settings):
        asked.append(place)
        return str(tmp_path / "model.safetensors")

    monkeypatch.setattr(hub, "hf_hub_download", fetch)
    words = ("encoder=timm", "encoder.model=resnet18.tv_in1k", *RESNET[1:])
    job = job_of(*words, "pretrain=timm")
    encoder = make_encoder(job)
    report = take_(encoder, job.pretrain)

    assert asked == [("timm/resnet18.tv_in1k", "model.safetensors")]
    assert job.pretrain.mean == STATISTICS["mean"] and job.pretrain.deviation == STATISTICS["deviation"]
    assert (report.tensors, report.left) == (120, ("fc.bias", "fc.weight"))
    assert torch.equal(encoder.net.conv1.weight, network.conv1.weight)
    # A file of the user's own has the statistics of the weights that are named, and of no others.
    own = ("pretrain=given", f"pretrain.path={tmp_path}/model.safetensors")
    assert job_of(*words, *own).pretrain.mean == STATISTICS["mean"]
    with pytest.raises(UserError, match=r"or the name of the weights to encoder.model, as in resnet18\.a1_in1k"):
        job_of(*words, *own, "encoder.model=resnet18")


def test_timms_weights_without_a_network_are_refused_in_a_sentence(tmp_path, monkeypatch):
    pytest.importorskip("timm")
    hub = pytest.importorskip("huggingface_hub")

    def fail(*place, **settings):
        raise hub.errors.LocalEntryNotFoundError("no connection.")

    monkeypatch.setattr(hub, "hf_hub_download", fail)
    with pytest.raises(UserError) as caught:
        job_of("encoder=timm", *RESNET[1:], "pretrain=timm")
    assert str(caught.value) == (
        "timm's weights timm/resnet18.a1_in1k can't be fetched (LocalEntryNotFoundError: no connection): where there "
        "is no network, give their file with pretrain=PATH."
    )


@pytest.mark.slow
def test_a_backbone_is_carried_trained_measured_exported_and_loaded(run_train, run_evaluate, command, tmp_path):
    torch.save({"model": prefixed("module.")}, tmp_path / "weights.pth")
    words = (*RESNET, f"pretrain={tmp_path}/weights.pth", *IMAGENET, "trainer.max_epochs=1", "data.labels_per_class=5")
    runs = {arm: run_train(*words, f"transfer={arm}", "logger=none") for arm in ("random_frozen", "frozen", "finetune")}
    for arm, done in runs.items():
        assert done.code == 0, done.err
        assert done.run.name.startswith(f"transfer-photo_digits-{arm}-s0-")
        assert ("The encoder's 120 tensors are taken from weights.pth" in done.out) == (arm != "random_frozen")
        assert (done.run / "report.html").is_file()
    frozen = runs["frozen"]
    said = frozen.result["weights"]
    assert (said["prefix"], said["tensors"], said["fresh"]) == ("model.module.", 120, [])
    assert said["left"] == ["model.module.fc.weight", "model.module.fc.bias"]
    assert said["said"] in (frozen.run / "MODEL_CARD.md").read_text()
    assert "under the prefix model.module., and 2 tensors" in (frozen.run / "report.html").read_text()
    assert all(torch.equal(frozen.encoder[f"net.{key}"], value) for key, value in weights().items() if key[:3] != "fc.")
    assert not torch.equal(runs["finetune"].encoder["net.conv1.weight"], weights()["conv1.weight"])
    # A control's input is standardised by its data, as ever.
    assert not torch.equal(runs["random_frozen"].encoder["normalise.mean"], frozen.encoder["normalise.mean"])

    assert run_train(*words, "transfer=frozen", "logger=none").run == frozen.run
    few = (
        "evaluation.representation.images=100",
        "evaluation.transferability.images=100",
        "evaluation.probes.probes=[knn]",
    )
    done = run_evaluate(f"run={runs['finetune'].run}", "evaluation=[representation,transferability,probes]", *few)
    assert done.code == 0, done.err
    done = command(embed.main, f"run={frozen.run}", "data=digits", "data.channels=3", f"out={tmp_path}/codes.npz")
    assert done.code == 0, done.err
    done = command(predict.main, f"run={frozen.run}", "data=digits", "data.channels=3", f"out={tmp_path}/classes.csv")
    assert done.code == 0, done.err
    done = command(export.main, f"run={frozen.run}", "formats=[torch_export,onnx]")
    assert done.code == 0, done.err
    again = run_train(*RESNET, f"pretrain={frozen.run}", "transfer=linear_probe", *words[-2:], "logger=none")
    assert again.code == 0, again.err
    script = "import sys, torch, aetransfer; e = aetransfer.load_encoder(sys.argv[1]); print(e(torch.zeros(1, 3, 32, 32)).shape)"
    loaded = subprocess.run([sys.executable, "-c", script, frozen.run], capture_output=True, text=True, cwd=tmp_path)
    assert loaded.stdout == "torch.Size([1, 512])\n", loaded.stderr


@pytest.mark.slow
@pytest.mark.parametrize(
    "words", [["encoder=torchvision"], ["encoder=timm"], ["encoder=torchvision", "encoder.latent_dim=8"]]
)
@pytest.mark.parametrize("pretext", ["ae", "contrastive"])
def test_a_pretext_trains_a_backbone_that_a_transfer_carries(run_train, words, pretext):
    if "encoder=timm" in words:
        pytest.importorskip("timm")
    short = ("trainer.max_epochs=1", "pretrain.trainer.max_epochs=1", "trainer.limit_train_batches=2")
    done = run_train(
        *("data=photo_digits", "data@pretrain.data=digits", f"pretrain={pretext}", *words, "transfer=gradual"),
        *(*short, "pretrain.trainer.limit_train_batches=2", "logger=none"),
    )

    assert done.code == 0, done.err
    assert "net.layer4.1.conv2.weight" in done.encoder
