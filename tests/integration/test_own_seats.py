"""A package of one's own beside the installed wheel: its augmentation, head, arm, measure and metric, on a backbone."""

import json
import re

import pytest

from tests.project import KILL, Project

AUGMENTATION = """
from aetransfer.data.augmentation import Augmentation


class Invert(Augmentation):
    numbers = 1

    def __init__(self, share: float = 0.5):
        self.share = share

    def __call__(self, inputs, drawn):
        inverted = (drawn < self.share).view(-1, 1, 1, 1).to(inputs.device)
        return inputs.where(~inverted, 1 - inputs)
"""
HEAD = """
from torch import nn


class Normed(nn.Sequential):
    def __init__(self, in_features: int, outputs: int, dropout: float = 0.1):
        super().__init__(nn.LayerNorm(in_features), nn.Dropout(dropout), nn.Linear(in_features, outputs))
"""
ARM = """
from aetransfer.transfer.arms import Arm


class TopHalf(Arm):
    summary = "trains its upper half, and the lower from the second epoch on at a tenth of the rate"

    def __init__(self, since: int = 1):
        self.since = since

    def trains(self, layers, epoch, epochs):
        return [place >= layers // 2 or epoch >= self.since for place in range(layers)]

    def rates(self, layers):
        return [1.0 if place >= layers // 2 else 0.1 for place in range(layers)]
"""
MEASURE = """
import torch

from aetransfer.evaluation.measure import Measure
from aetransfer.evaluation.outcome import Outcome


class Spread(Measure):
    def __init__(self, images: int = 100):
        self.images = images

    @torch.no_grad()
    def __call__(self, subject):
        subject.open(subject.part)
        batches = subject.data.in_order(subject.part, 50, subject.device, self.images)
        codes = torch.cat([subject.encoder(images) for images, _ in batches])
        return Outcome([{"spread": codes.std(0).mean().item()}], notes=["Mean deviation of a code's numbers."])
"""
WEIGHTS = """
import torch
from torchvision.models import resnet18

torch.manual_seed(3)
torch.save(resnet18().state_dict(), "weights.pth")
"""
FILES = {
    "my_lab/__init__.py": "",
    "my_lab/augmentation.py": AUGMENTATION,
    "my_lab/heads.py": HEAD,
    "my_lab/arms.py": ARM,
    "my_lab/measures.py": MEASURE,
    "my_lab/kill.py": KILL,
    "make_weights.py": WEIGHTS,
    "my_lab/configs/augment/invert.yaml": """
        invert:
          _target_: my_lab.augmentation.Invert
          share: 0.5
    """,
    "my_lab/configs/head/normed.yaml": """
        _target_: my_lab.heads.Normed
        dropout: 0.1
    """,
    "my_lab/configs/transfer/top_half.yaml": """
        _target_: my_lab.arms.TopHalf
        name: top_half
        control: scratch
        since: 1
    """,
    "my_lab/configs/evaluation/spread.yaml": """
        spread:
          _target_: my_lab.measures.Spread
          images: 100
    """,
    "my_lab/configs/metrics/kappa.yaml": """
        kappa:
          _target_: torchmetrics.classification.MulticlassCohenKappa
          words: Cohen's kappa, agreement beyond chance
    """,
    "my_lab-1.0.dist-info/METADATA": """
        Metadata-Version: 2.1
        Name: my_lab
        Version: 1.0
    """,
    "my_lab-1.0.dist-info/entry_points.txt": """
        [aetransfer.plugins]
        my_lab = my_lab
    """,
}
STATISTICS = "pretrain.mean=[0.485,0.456,0.406] pretrain.deviation=[0.229,0.224,0.225]"
# No allow=: the command names the options of the plugin.
WORDS = (
    "data=photo_digits encoder=torchvision encoder.model=resnet18 pretrain=weights.pth augment=invert head=normed "
    f"metrics=[kappa,auroc] model.monitor=val/kappa data.epoch_images=160 data.batch_size=32 trainer.max_epochs=2 "
    f"logger=none {STATISTICS}"
)

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def project(tmp_path_factory, site):
    folder = Project(tmp_path_factory.mktemp("project"), site, FILES)
    folder.python("make_weights.py")
    return folder


@pytest.fixture(scope="module")
def swept(project):
    """A sweep of the own arm and its control over two seeds; its output, and the runs by a part of their names."""
    out = project(f"-m {WORDS} transfer=scratch,top_half evaluation=spread seed=0,1")
    runs = sorted(path for path in (project.folder / "outputs" / "runs").iterdir() if not path.name.startswith("."))
    return out, lambda part: next(path for path in runs if part in path.name)


def test_the_report_holds_the_own_arm_against_its_control(project, swept):
    out, _ = swept
    (report,) = re.findall(r"^report: (.+)$", out, flags=re.M)
    summary = (project.folder / report).parent.joinpath("summary.md").read_text()

    assert r"top\_half – scratch" in summary
    assert "kappa" in summary


def test_page_and_card_show_arm_measure_metric_and_what_was_taken_of_the_weights(swept):
    _, run = swept
    own = run("top_half")
    card, page = (own / "MODEL_CARD.md").read_text(), (own / "report.html").read_text()
    told = json.loads((own / "result.json").read_text())

    assert "trains its upper half" in card
    assert "spread" in card and "spread" in page
    assert "Cohen&#39;s kappa" in page and "kappa" in card
    assert "weights.pth" in card and "120 tensors" in card
    assert told["model"]["monitor"] == "val/kappa"
    assert {"test/kappa", "test/auroc", "test/acc"} <= told["metrics"].keys()
    assert json.loads((own / "evaluation" / "spread.json").read_text())["rows"][0]["spread"] > 0


def test_the_weights_start_the_arm_and_not_its_control(project, swept):
    _, run = swept
    state = (
        "import sys, torch; print({name: torch.load(f'{path}/checkpoints/best.ckpt', weights_only=True)"
        "['state_dict']['encoder.net.conv1.weight'].std().item() for name, path in (('arm', sys.argv[1]), ('control', sys.argv[2]))})"
    )
    spread = eval(project.python("-c", state, str(run("top_half")), str(run("scratch"))))

    # Both are drawn alike, from other seeds; each is near where it began.
    assert spread["arm"] != spread["control"]
    assert "120 tensors" not in (run("scratch") / "MODEL_CARD.md").read_text()


def test_a_finished_run_is_evaluated_digit_for_digit_and_measured(project, swept):
    _, run = swept
    own = run("top_half")
    told = json.loads((own / "result.json").read_text())["metrics"]["test/kappa"]

    assert f"test/kappa          {told!r}" in project(f"run={own} allow=[my_lab]", "evaluate")
    assert "spread" in project(f"run={own} evaluation=spread allow=[my_lab]", "evaluate")


def test_a_run_that_is_killed_within_an_epoch_goes_on_to_the_same_bits(project, swept):
    _, run = swept
    words = f"{WORDS} transfer=top_half seed=1 paths.output_dir=cut "
    words += "'+callbacks.kill={_target_:my_lab.kill.Kill,only_looks:true}'"
    (project.folder / "killed").unlink(missing_ok=True)
    project(words, code=-9)

    project(words)

    (cut,) = (project.folder / "cut" / "runs").glob("transfer-*top_half*")
    for file in ("encoder.safetensors", "history.json"):
        assert (cut / file).read_bytes() == (run(cut.name) / file).read_bytes()


def test_the_encoder_is_loaded_by_path_without_the_package(project, swept):
    _, run = swept
    said = project.python(
        "-c",
        f"import torch, aetransfer; encoder = aetransfer.load_encoder({str(run('top_half'))!r}); "
        "print(tuple(encoder(torch.rand(2, 3, 32, 32)).shape))",
    )

    assert said.strip() == "(2, 512)"


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("augment=invrt", "did you mean invert"),
        ("data.augment.invert.shre=0.1", "did you mean data.augment.invert.share"),
        ("head.dropot=0.1", "did you mean head.dropout"),
        ("transfer=top_half transfer.sinse=1", "did you mean transfer.since"),
        ("evaluation=spread evaluation.spread.images=many", "evaluation.spread.images=many"),
        ("pretrain=nothing.pth", "nothing.pth"),
        ("encoder.model=resnet81", "resnet18"),
    ],
)
def test_a_wrong_word_of_ones_own_is_refused_in_a_sentence(project, words, said):
    out = project(f"{WORDS} {words}", code=1)

    assert said in out and out.count("\n") <= 3
    assert "Traceback" not in out
