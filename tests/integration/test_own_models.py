"""A project of one's own, beside the installed wheel: its pretexts and optimiser have all that ours have."""

import json
import re
from pathlib import Path

import pytest
from PIL import Image

from tests.project import KILL, Project

DENOISING = '''
"""Images from what noise has left of them."""

from aetransfer.models.base import Pretext
from aetransfer.models.facts import Quantity


class Denoising(Pretext):
    title = "denoiser"
    metrics = {"mse": Quantity("mean squared error a pixel")}

    def __init__(self, encoder, sigma: float = 0.2):
        super().__init__(encoder)
        self.decoder, self.sigma = encoder.make_decoder(), sigma

    def decode(self, codes):
        return self.decoder(codes).sigmoid()

    def reconstruct(self, inputs):
        return self.decode(self.encoder(inputs))

    def step(self, batch):
        noisy = batch.inputs + self.sigma * batch.draws.normal_like(batch.inputs)
        error = batch.content(self.reconstruct(noisy) - batch.inputs).square().mean((1, 2, 3))
        return {"loss": error, "mse": error}
'''
SIMCLR = '''
"""Two noisy views of an image are to be more alike than views of different images."""

import torch
from torch import nn
from torch.nn import functional as F

from aetransfer.models.base import Pretext
from aetransfer.models.facts import Quantity


class SimCLR(Pretext):
    title = "contrastive learner of mine"
    metrics = {"nt_xent": Quantity("NT-Xent, nats")}
    untrained = ("bottleneck",)

    def __init__(self, encoder, temperature: float = 0.5):
        super().__init__(encoder)
        self.project = nn.Linear(encoder.num_features, 16)
        self.temperature = temperature

    def step(self, batch):
        views = [batch.inputs + 0.1 * batch.draws.normal_like(batch.inputs) for _ in range(2)]
        codes = F.normalize(self.project(self.encoder.features(torch.cat(views))), dim=1)
        logits = (codes @ codes.T / self.temperature).fill_diagonal_(-torch.inf)
        count = len(batch.inputs)
        loss = F.cross_entropy(logits, torch.arange(2 * count).roll(count))
        return {"loss": loss, "nt_xent": loss}
'''
FOCAL = '''
"""A classifier that attends to what it gets wrong (Lin et al. 2017)."""

from aetransfer.models.classifier import Classifier


class Focal(Classifier):
    title = "focal classifier"

    def __init__(self, encoder, head, outputs, gamma: float = 2.0):
        super().__init__(encoder, head, outputs)
        self.gamma = gamma

    def probabilities(self, inputs):
        return (self(inputs) / 2).softmax(1)

    def step(self, batch):
        outputs = super().step(batch)
        nll = outputs["nll"]
        return {**outputs, "loss": (1 - (-nll).exp()) ** self.gamma * nll}
'''
LION = '''
"""Lion (Chen et al. 2023)."""

import torch


class Lion(torch.optim.Optimizer):
    def __init__(self, params, lr: float = 1e-4, betas=(0.9, 0.99), weight_decay: float = 0.0):
        super().__init__(params, {"lr": lr, "betas": betas, "weight_decay": weight_decay})

    @torch.no_grad()
    def step(self, closure=None):
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for group in self.param_groups:
            first, second = group["betas"]
            for parameter in group["params"]:
                if parameter.grad is None:
                    continue
                state = self.state[parameter]
                momentum = state.setdefault("momentum", torch.zeros_like(parameter))
                update = momentum.lerp(parameter.grad, 1 - first).sign_()
                parameter.mul_(1 - group["lr"] * group["weight_decay"]).add_(update, alpha=-group["lr"])
                momentum.lerp_(parameter.grad, 1 - second)
        return loss
'''
FILES = {
    "my_lab/__init__.py": "",
    "my_lab/denoising.py": DENOISING,
    "my_lab/simclr.py": SIMCLR,
    "my_lab/focal.py": FOCAL,
    "my_lab/kill.py": KILL,
    "lion_lab/__init__.py": LION,
    "conf/model/dae.yaml": """
        # @package _global_
        defaults: [/optimizer: lion, /scheduler: exponential, _self_]
        model: {_target_: my_lab.denoising.Denoising, name: dae, sigma: 0.2}
    """,
    "conf/model/simclr.yaml": """
        # @package _global_
        defaults: [/optimizer: lion, /scheduler: exponential, _self_]
        model: {_target_: my_lab.simclr.SimCLR, name: simclr, temperature: 0.5}
    """,
    "conf/model/focal.yaml": """
        # @package _global_
        defaults: [/optimizer: lion, /scheduler: exponential, _self_]
        model: {_target_: my_lab.focal.Focal, name: focal, gamma: 2.0}
    """,
    "conf/optimizer/lion.yaml": """
        _target_: lion_lab.Lion
        lr: 3.0e-4
        betas: [0.9, 0.98]
    """,
    "conf/scheduler/exponential.yaml": """
        _target_: torch.optim.lr_scheduler.ExponentialLR
        gamma: 0.9
    """,
}
SMALL = (
    "encoder.widths=[4,8] encoder.latent_dim=8 data.epoch_images=160 pretrain.data.epoch_images=160 "
    "trainer.max_epochs=1 pretrain.trainer.max_epochs=2 logger=tensorboard"
)
TO_PHOTO_DIGITS = f"data=photo_digits data@pretrain.data=digits transfer=finetune {SMALL}"


@pytest.fixture(scope="module")
def project(tmp_path_factory, site):
    return Project(
        tmp_path_factory.mktemp("project"), site, FILES, words=("allow=[my_lab,lion_lab]", "--config-dir", "conf")
    )


@pytest.fixture(scope="module")
def swept(project):
    """A sweep of both pretexts over two seeds; its output, and the runs by a part of their names."""
    out = project(f"-m {TO_PHOTO_DIGITS} transfer=scratch,finetune pretrain=dae,simclr seed=0,1")
    runs = sorted(path for path in (project.folder / "outputs" / "runs").iterdir() if not path.name.startswith("."))
    return out, lambda part: next(path for path in runs if part in path.name)


pytestmark = pytest.mark.slow


def test_the_package_that_is_used_is_the_wheels(project, site):
    where = project.python("-c", "import aetransfer; print(aetransfer.__file__)")

    assert Path(where.strip()).is_relative_to(site)


def test_a_sweep_reports_both_pretexts_beside_their_control(project, swept):
    out, _ = swept
    (report,) = re.findall(r"^report: (.+)$", out, flags=re.M)
    summary = (project.folder / report).parent.joinpath("summary.md").read_text()

    assert re.search(r"\| dae +\| finetune", summary) and re.search(r"\| simclr +\| finetune", summary)
    assert "finetune – scratch" in summary
    assert summary.count("| 2 ") >= 3  # of two seeds each


def test_a_runs_page_and_card_say_what_the_class_says(swept):
    _, run = swept
    card = (run("pretrain-digits-simclr") / "MODEL_CARD.md").read_text()
    page = (run("pretrain-digits-dae") / "report.html").read_text()

    assert "a contrastive learner of mine" in card
    assert "bottleneck" in card and "not trained" in card
    assert "denoiser" in page and "mean squared error a pixel" in page
    assert (run("pretrain-digits-dae") / "reconstructions.png").is_file()
    assert not (run("pretrain-digits-simclr") / "reconstructions.png").exists()


def test_learning_rates_fall_as_the_schedule_has_it(swept):
    _, run = swept
    history = json.loads((run("pretrain-digits-dae") / "history.json").read_text())

    assert [row["optimizer/lr/encoder"] for row in history] == pytest.approx([0.9 * 3e-4, 0.81 * 3e-4])
    assert set(history[0]) >= {"train/mse", "val/mse", "optimizer/lr/decoder"}


@pytest.mark.short
def test_a_finished_run_is_evaluated_digit_for_digit_and_probed(project, swept):
    _, run = swept
    pretraining = run("pretrain-digits-simclr")
    told = json.loads((pretraining / "result.json").read_text())["metrics"]["test/nt_xent"]

    assert f"test/nt_xent        {told!r}" in project(f"run={pretraining}", "evaluate")
    probes = project(
        f"run={pretraining} evaluation=probes evaluation.probes.probes=[knn] evaluation.probes.baselines=[]", "evaluate"
    )
    assert "bottleneck (untrained)" in probes


def test_its_encoder_is_loaded_by_path(project, swept):
    _, run = swept
    said = project.python(
        "-c",
        f"import torch, aetransfer; encoder = aetransfer.load_encoder({str(run('pretrain-digits-dae'))!r}); "
        "print(tuple(encoder(torch.rand(2, 1, 32, 32)).shape), encoder.untrained)",
    )

    assert said.strip() == "(2, 8) ()"


def test_identity_names_the_runs_that_are_there(project, swept):
    shown = project(f"{TO_PHOTO_DIGITS} pretrain=simclr --identity")

    assert shown.count(" finished ") == 2


@pytest.mark.parametrize("name", ["dae", "simclr"])
def test_a_run_that_is_killed_within_an_epoch_goes_on_to_the_same_bits(project, swept, name):
    _, run = swept
    words = (
        f"model={name} data=digits encoder.widths=[4,8] encoder.latent_dim=8 data.epoch_images=160 trainer.max_epochs=2"
    )
    words += " paths.output_dir=cut '+callbacks.kill={_target_:my_lab.kill.Kill,only_looks:true}'"
    (project.folder / "killed").unlink(missing_ok=True)
    project(words, code=-9)

    project(words)

    (cut,) = (project.folder / "cut" / "runs").glob(f"pretrain-digits-{name}-*")
    whole = run(cut.name)
    for file in ("encoder.safetensors", "history.json"):
        assert (cut / file).read_bytes() == (whole / file).read_bytes()


@pytest.mark.parametrize(
    ("word", "said"),
    [
        ("model=dae model.sgma=0.1", "model.sgma is no config key or group (did you mean model.sigma)."),
        ("model=dae model.sigma=much", "model.sigma=much should be a valid number."),
        ("model=dae optimizer.betsa=[0.9,0.9]", "did you mean optimizer.betas"),
        ("model=dae scheduler.gama=0.9", "did you mean scheduler.gamma"),
        ("data=photo_digits pretrain=simclr pretrain.model.temprature=1", "did you mean pretrain.model.temperature"),
        ("data=photo_digits pretrain=simcrl", "did you mean simclr"),
        ("model=dae model.monitor=val/acc", "is in no file, but its class takes it: write +model.monitor=VALUE"),
        ("model=dae +model.monitor=val/acc", "is none of the denoiser's metrics (val/mse)"),
    ],
)
def test_a_wrong_key_or_value_of_ones_own_is_refused_in_a_sentence(project, word, said):
    out = project(word if "data=" in word else f"data=digits {word}", code=1)

    assert said in out and out.count("\n") <= 3
    assert "Traceback" not in out


def test_a_task_of_ones_own_is_frozen_measured_and_predicts_by_its_own_probabilities(project):
    out = project(f"{TO_PHOTO_DIGITS} model=focal transfer=frozen pretrain=dae evaluation=classifier")
    run = project.folder / out.strip().splitlines()[-1].removeprefix("run: ")
    told = json.loads((run / "result.json").read_text())
    Image.new("RGB", (32, 32), (200, 30, 30)).save(project.folder / "images.png")
    (project.folder / "images").mkdir(exist_ok=True)
    (project.folder / "images.png").rename(project.folder / "images" / "red.png")

    assert told["model"]["title"] == "focal classifier" and "classify" in told["model"]["can"]
    assert (run / "evaluation" / "classifier.json").is_file()
    assert f"test/acc            {told['metrics']['test/acc']!r}" in project(f"run={run}", "evaluate")
    project(f"run={run} images=images out=classes.csv", "predict")
    said = project.python(
        "-c",
        "import csv, torch, aetransfer\n"
        "from my_lab.focal import Focal\n"
        f"encoder = aetransfer.load_encoder({str(run)!r})\n"
        f"state = torch.load({str(run / 'checkpoints' / 'best.ckpt')!r}, weights_only=True)['state_dict']\n"
        "from aetransfer.networks.head import Head\n"
        "head = Head(8, 10)\n"
        "head.load_state_dict({key[5:]: value for key, value in state.items() if key.startswith('head.')})\n"
        "image = encoder.preprocess('images/red.png').unsqueeze(0)\n"
        "own = (head(encoder(image)) / 2).softmax(1)[0].tolist()\n"
        "row = next(csv.DictReader(open('classes.csv')))\n"
        "given = [float(row[f'p_{digit}']) for digit in range(10)]\n"
        "print(max(abs(a - b) for a, b in zip(own, given)) < 1e-5)",
    )
    assert said.strip() == "True"


def test_code_that_the_command_does_not_allow_is_not_called(project):
    done = project.python("-m", "aetransfer.train", "--config-dir", "conf", "model=dae", "data=digits", code=1)

    assert "allow=[my_lab]" in done
