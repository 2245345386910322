"""A head and arms of somebody's own, each a class and a YAML: they have all that ours have, to the last bit."""

import csv
import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from PIL import Image
from safetensors.torch import load_file

from aetransfer import embed, predict
from aetransfer.report import __main__ as report
from tests.integration.conftest import TINY, TINY_PRETRAINING, assert_refused
from tests.integration.test_arms import inflated, source_encoder

HEADS = '''
import torch
from torch import nn
from torch.nn import functional as F


class Cosine(nn.Module):
    """Scaled cosines between a code and a prototype of each class, without a bias."""

    def __init__(self, in_features, outputs, scale: float = 10.0, dropout: float = 0.1):
        super().__init__()
        self.dropout, self.prototypes, self.scale = nn.Dropout(dropout), nn.Parameter(torch.randn(outputs, in_features)), scale

    def forward(self, codes):
        return self.scale * F.linear(F.normalize(self.dropout(codes)), F.normalize(self.prototypes))


class Narrow(Cosine):
    def forward(self, codes):
        return super().forward(codes)[:, 1:]


class Deaf(Cosine):
    def forward(self, codes):
        return super().forward(codes[:, :3])


def no_module(in_features, outputs):
    return "a head"
'''
ARMS = '''
import torch

from aetransfer.transfer.arms import Arm


class TopHalf(Arm):
    """The top half trains from an epoch on, slowly; the first layer is shuffled."""

    summary = "has its first layer shuffled and learns late in its top half"

    def __init__(self, since: int = 1, factor: float = 0.1):
        self.since, self.factor = since, factor

    def begin(self, encoder, fresh, seed):
        with torch.no_grad():
            for module in encoder.modules_of_layers()[0]:
                for values in module.parameters(recurse=False):
                    values.copy_(values.flatten()[torch.randperm(values.numel())].view_as(values))

    def trains(self, layers, epoch, epochs):
        return [place >= layers // 2 and epoch >= self.since for place in range(layers)]

    def rates(self, layers):
        return [self.factor] * layers


class Short(Arm):
    def trains(self, layers, epoch, epochs):
        return [True] * layers if epoch == 0 else [True]


class Backwards(Arm):
    def rates(self, layers):
        return [-1.0] * layers


class NoArm:
    pass
'''
KEYS = "since: 1\nfactor: 0.1\n"
FILES = {
    "seats_lab/__init__.py": "",
    "seats_lab/heads.py": HEADS,
    "seats_lab/arms.py": ARMS,
    "conf/head/cosine.yaml": "_target_: seats_lab.heads.Cosine\nscale: 10.0\n",
    "conf/transfer/top_half.yaml": f"_target_: seats_lab.arms.TopHalf\nname: top_half\ncontrol: bare\n{KEYS}",
    "conf/head/no_module.yaml": "_target_: seats_lab.heads.no_module\n",
    "conf/transfer/short.yaml": "_target_: seats_lab.arms.Short\nname: short\ncontrol: scratch\n",
    "conf/transfer/backwards.yaml": "_target_: seats_lab.arms.Backwards\nname: backwards\ncontrol: scratch\n",
    "conf/transfer/no_arm.yaml": "_target_: seats_lab.arms.NoArm\nname: no_arm\ncontrol: scratch\n",
    "conf/transfer/bare.yaml": f"_target_: seats_lab.arms.TopHalf\nname: bare\ncarries: false\n{KEYS}",
}
OURS = ("transfer=top_half", "head=cosine", "encoder.batch_norm=true")


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    folder = tmp_path_factory.mktemp("project")
    for path, text in FILES.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_text(text)
    return folder


@pytest.fixture
def words(project, monkeypatch):
    monkeypatch.syspath_prepend(project)
    return ("--config-dir", str(project / "conf"), "allow=[seats_lab]", *TINY)


@pytest.fixture(scope="module")
def swept(project):
    """Arm and control over two seeds, started as a user does; the sweep's summary, and the store."""
    command = [
        sys.executable,
        "-m",
        "aetransfer.train",
        "--config-dir",
        "conf",
        "allow=[seats_lab]",
        "-m",
        *TINY,
        *OURS,
    ]
    command += ["transfer=top_half,bare", "seed=0,1"]
    done = subprocess.run(command, cwd=project, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    (summary,) = (project / "outputs" / "sweeps").glob("*/report/summary.md")
    return summary.read_text(), project / "outputs"


@pytest.mark.slow
def test_a_layer_is_begun_and_trained_as_the_arm_says_also_over_a_resume(run_train, interrupted_at, words, tmp_path):
    words = (*words, *OURS, "trainer.max_epochs=3", "optimizer.weight_decay=0")
    whole = run_train(*words, f"paths.output_dir={tmp_path}/whole")
    with interrupted_at(step=5):  # in the second epoch of the transfer; its pretraining has three steps
        assert run_train(*words, f"paths.output_dir={tmp_path}/cut").code == 130
    resumed = run_train(*words, f"paths.output_dir={tmp_path}/cut")
    assert "Resuming from" in resumed.out
    for file in ("encoder.safetensors", "history.json"):
        assert (resumed.run / file).read_bytes() == (whole.run / file).read_bytes()

    source = inflated(source_encoder(whole))
    last = torch.load(whole.run / "checkpoints" / "last.ckpt", weights_only=True)["state_dict"]
    changed = {key for key, value in source.items() if not torch.equal(last[f"encoder.{key}"], value)}
    moved = ("convolutions.6.", "convolutions.7.", "convolutions.9.", "convolutions.10.", "bottleneck.")
    first = ("convolutions.0.", "convolutions.1.weight", "convolutions.1.bias")
    # Ones and noughts that are shuffled stay what they are.
    assert changed - {key for key in source if key.startswith(first)} == {
        key for key in source if key.startswith(moved)
    }
    for key in ("convolutions.0.weight", "convolutions.0.bias"):
        if key in source:
            assert sorted(last[f"encoder.{key}"].flatten().tolist()) == sorted(source[key].flatten().tolist())
    assert json.loads((whole.run / "history.json").read_text())[0]["train/acc"] >= 0


def test_what_was_trained_is_measured_read_and_shown(run_train, run_evaluate, command, words, tmp_path):
    done = run_train(*words, *OURS)
    assert done.code == 0, done.err
    allow = "allow=[seats_lab]"
    page, card = (done.run / "report.html").read_text(), (done.run / "MODEL_CARD.md").read_text()
    said = torch.load(done.run / "checkpoints" / "best.ckpt", weights_only=True)["hyper_parameters"]
    assert said["outputs"] == 10
    assert "whose encoder has its first layer shuffled and learns late in its top half" in page
    assert "Transfer to photo_digits from digits (ae): top_half" in page
    assert "it has its first layer shuffled and learns late in its top half." in card
    assert "with that of the control: transfer=bare with the same seed." in card

    measured = run_evaluate(f"run={done.run}", allow)
    assert f"test/acc            {done.result['metrics']['test/acc']!r}" in measured.out
    (tmp_path / "images").mkdir()
    Image.new("RGB", (32, 32), (200, 30, 30)).save(tmp_path / "images" / "red.png")
    for main, out in ((predict.main, "classes.csv"), (embed.main, "codes.csv")):
        words = [f"run={done.run}", f"images={tmp_path}/images", f"out={tmp_path}/{out}"]
        given = command(main, *words, *([allow] if main is predict.main else []))
        assert given.code == 0, given.err
    (row,) = csv.DictReader((tmp_path / "classes.csv").open())
    assert sum(float(row[f"p_{digit}"]) for digit in range(10)) == pytest.approx(1)


def test_the_control_carries_nothing_and_is_no_run_from_scratch(run_train, words):
    done = run_train(*words, *OURS, "transfer=bare")

    assert done.code == 0, done.err
    assert done.result["source"] is None
    assert "-bare-d8-s0-" in done.run.name
    assert "This is a control: nothing was carried into its encoder." in (done.run / "MODEL_CARD.md").read_text()
    assert "Transfer to photo_digits: bare" in (done.run / "report.html").read_text()


@pytest.mark.slow
def test_a_sweep_pairs_the_arm_with_its_own_control(swept):
    summary, store = swept

    assert r"top\_half – bare" in summary
    assert summary.count("| 2 ") >= 2  # of two seeds each
    assert "| head" not in summary  # nobody varied it
    runs = [path for path in (store / "runs").iterdir() if path.name.startswith("transfer-")]
    assert len(runs) == 4


@pytest.mark.slow
def test_an_arms_page_stands_beside_its_control(swept, command):
    _, store = swept
    (run,) = (store / "runs").glob("transfer-*-top_half-*-s1-*")
    done = command(report.main, f"run={run}")

    assert done.code == 0, done.err
    assert "Its control, transfer=bare with the same seed, reached test/acc" in (run / "report.html").read_text()


def test_a_supervised_source_has_a_head_of_its_own(run_train, words):
    done = run_train(*words, "pretrain=classifier", "head@pretrain.head=cosine", "transfer=frozen")
    assert done.code == 0, done.err
    source = json.loads((Path(done.result["source"]) / "result.json").read_text())

    assert source["counts"]["parameters"] - done.result["counts"]["parameters"] < 0  # no hidden layer, no biases
    source_state = load_file(Path(done.result["source"]) / "encoder.safetensors")
    assert torch.equal(source_state["bottleneck.weight"], done.encoder["bottleneck.weight"])


@pytest.mark.slow
def test_a_head_beside_a_linear_one_is_told_apart_in_a_report(run_train, words, tmp_path, command):
    store = f"paths.output_dir={tmp_path}"
    for head in ("cosine", "linear"):
        assert run_train(*words, "transfer=scratch", f"head={head}", store).code == 0
    done = command(report.main, store, "stage=transfer")

    assert done.code == 0, done.err
    assert "Cosine" in done.out and "Head" in done.out


@pytest.mark.parametrize(
    ("word", "sentence"),
    [
        ("head.scael=3", "head.scael is no config key or group (did you mean head.scale)."),
        ("head.scale=much", "head.scale=much should be a valid number."),
        ("transfer.sinec=3", "transfer.sinec is no config key or group (did you mean transfer.since)."),
        ("transfer.since=soon", "transfer.since=soon should be a valid integer."),
        ("transfer.control=null", "transfer carries an encoder and needs a control: name the arm that is the same but carries nothing with transfer.control=scratch, or say transfer.carries=false."),
        ("transfer.control=top_half", "transfer carries an encoder and needs a control: name the arm that is the same but carries nothing with transfer.control=scratch, or say transfer.carries=false."),
        ("+transfer.carries=false", "transfer carries nothing, which makes it a control itself: leave out control=bare."),
        ("transfer.name=finetune", "transfer is called finetune, which means another arm: give it another transfer.name."),
        ("transfer._target_=os.system", "_target_: os.system is outside the packages that the arm of a config may come from (aetransfer.transfer.arms, seats_lab): if it is yours, add allow=[os] to the command line."),
        ("head._target_=torch.nn.Linear", "_target_: torch.nn.Linear is outside the packages that the head of a config may come from (aetransfer.networks, seats_lab): if it is yours, add allow=[torch] to the command line."),
    ],
)  # fmt: skip
def test_a_wrong_key_of_ones_own_is_refused_before_its_code_is_run(run_train, words, monkeypatch, word, sentence):
    for module in ("seats_lab.heads", "seats_lab.arms"):
        monkeypatch.delitem(sys.modules, module, raising=False)

    assert_refused(run_train(*words, *OURS, word), sentence)
    assert not {"seats_lab.heads", "seats_lab.arms"} & set(sys.modules)


@pytest.mark.parametrize(
    ("word", "sentence"),
    [
        ("head._target_=seats_lab.heads.Narrow", "seats_lab.heads.Narrow gives a tensor of (2, 9) for 2 codes: give (2, 10), as outputs=10 asks."),
        ("head=no_module", "_target_: seats_lab.heads.no_module is no torch.nn.Module: subclass it."),
        ("transfer=short", "seats_lab.arms.Short.trains gives [True] for 5 layers: give a list with True or False for each."),
        ("transfer=backwards", "seats_lab.arms.Backwards.rates gives [-1.0, -1.0, -1.0, -1.0, -1.0] for 5 layers: give a list with a number from 0 on for each."),
        ("transfer=no_arm", "_target_: seats_lab.arms.NoArm is no aetransfer.transfer.arms.Arm: subclass it."),
    ],
)  # fmt: skip
def test_what_a_class_does_wrong_is_said_before_its_pretraining_begins(run_train, words, tmp_path, word, sentence):
    done = run_train(*words, *OURS, word, f"paths.output_dir={tmp_path}/store")

    assert done.code == 1
    assert done.err.splitlines()[-1] == f"error: {sentence}"
    assert not list((tmp_path / "store").glob("runs/pretrain-*"))


def test_a_head_that_can_not_read_the_code_is_refused(run_train, words):
    done = run_train(*words, *OURS, "head._target_=seats_lab.heads.Deaf")

    assert done.code == 1
    assert "seats_lab.heads.Deaf can't read codes of (2, 8) (" in done.err and "Traceback" not in done.err


def test_a_checkpoint_that_claims_another_size_of_its_head_is_damaged(run_train, run_evaluate, words):
    done = run_train(*words, *OURS, "transfer=scratch", "trainer.max_epochs=1")
    best = done.run / "checkpoints" / "best.ckpt"
    content = torch.load(best, weights_only=True)
    for said in (10**12, "10", None, -1):
        content["hyper_parameters"]["outputs"] = said
        torch.save(content, best)
        measured = run_evaluate(f"run={done.run}", "allow=[seats_lab]")
        assert measured.code == 1
        assert f"says that its head gives {said!r} numbers: it is damaged." in measured.err


def test_an_arm_means_nothing_to_a_pretraining(run_train, words):
    done = run_train(*words[:3], *TINY_PRETRAINING, "model=ae", "transfer=top_half")

    assert_refused(done, "model=ae is a pretraining, so transfer=top_half has no meaning: leave it out.")
