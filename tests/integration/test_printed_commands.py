"""Every command that is printed can be pasted: of a project that lives elsewhere, with config files and code of its own."""

import html
import os
import re
import shlex
import subprocess
import sys

import pytest

from aetransfer import evaluate, train
from aetransfer.config.commands import again, allowed, launched, of_control
from tests.integration.test_docs import DOCS, written_files

CODE = """
import os
import signal

from pytorch_lightning import Callback


class Stop(Callback):
    def on_train_batch_end(self, trainer, *rest):
        if trainer.global_step == int(os.environ.get("STOP_AT", -1)):
            signal.raise_signal(signal.SIGINT)
"""
EXPERIMENT = """
# @package _global_
defaults:
  - override /data: photo_digits
  - override /data@pretrain.data: digits
  - override /encoder: pooled
encoder: {latent_dim: 8, width: 4}
pretrain: {trainer: {max_epochs: 1, limit_train_batches: 3}}
trainer: {max_epochs: 2, limit_train_batches: 3, progress: false}
logger: {tensorboard: null}
callbacks:
  embeddings: null
  curves: null
  stop: {_target_: my_lab.stop.Stop, only_looks: true}
"""
SWEEP = "params: {transfer: 'scratch,frozen', seed: '0'}\nset: {data.labels_per_class: 20}\n"
TRANSPLANT = "# @package _global_\ntransfer: {transplanted: 1}\n"


class Project:
    """A folder with code and config files, and the commands that are given in it."""

    def __init__(self, folder):
        self.folder = folder
        page = (DOCS / "add_an_encoder.md").read_text()
        files = {path: text for path, text in written_files(page).items() if path.startswith("my_lab/")}
        files |= {
            "my_lab/stop.py": CODE,
            "my  conf/encoder/pooled.yaml": "_target_: my_lab.pooled.Pooled\nlatent_dim: 64\nwidth: 16\n",
            "my  conf/experiment/mine.yaml": EXPERIMENT.lstrip(),
            "my  conf/experiment/cut.yaml": TRANSPLANT,
            "my  conf/sweep/mine.yaml": SWEEP,
        }
        for path, text in files.items():
            (folder / path).parent.mkdir(parents=True, exist_ok=True)
            (folder / path).write_text(text)

    def __call__(self, command, **env):
        """Run a command line as a shell would, in an environment that knows nothing of the project."""
        _, *words = shlex.split(command)
        left = {name: value for name, value in os.environ.items() if not name.startswith("AETRANSFER_")}
        return subprocess.run(
            [sys.executable, *words],
            cwd=self.folder, env={**left, "OMP_NUM_THREADS": "1", **env}, capture_output=True, text=True,
        )  # fmt: skip

    def train(self, words, code=0, **env):
        done = self(f"python -m aetransfer.train experiment=mine 'allow=[my_lab]' {words}", **env)
        assert done.returncode == code, done.stdout + done.stderr
        return done.stdout

    def printed(self):
        """Return the commands that the files of the store hold, each once, and where it was first seen."""
        found = {}
        for path in [
            *self.folder.rglob("report.html"),
            *self.folder.rglob("index.html"),
            *self.folder.rglob("summary.md"),
        ]:
            text = path.read_text()
            marks = (
                r"`+(python -m aetransfer\..*?)`+$"
                if path.suffix == ".md"
                else r"(?:^|>)(python -m aetransfer\.[^<\n]*)"
            )
            for command in re.findall(marks, text, re.M):
                found.setdefault(html.unescape(command), path)
        return found


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_every_printed_command_of_a_project_that_lives_elsewhere_runs(tmp_path, command, monkeypatch):
    project = Project(tmp_path / "my project")
    by_word = "--config-dir 'my  conf'"
    out = project.train("-m sweep=mine", AETRANSFER_CONFIG_DIR="my  conf")
    out += project.train(f"-m {by_word} sweep=tune sweep.trials=1 transfer=frozen trainer.max_epochs=1 seed=3")
    out += project.train(f"{by_word} transfer=finetune seed=4", code=130, STOP_AT="2")
    out += project.train(f"{by_word} transfer=transplant transfer.transplanted=2 seed=5 'pretrain.seed=0'")
    out += project.train(
        "experiment=[mine,cut] transfer=transplant seed=6 pretrain.seed=0", AETRANSFER_CONFIG_DIR="my  conf"
    )
    (pretraining, *_) = sorted(tmp_path.rglob("pretrain-*-s0-*/config.yaml"))
    out += project.train(f"{by_word} model=ae data=digits seed=7 callbacks=none")
    given = f"transfer=finetune seed=8 pretrain=./{pretraining.parent.relative_to(project.folder)}"
    tiny = (
        "encoder.latent_dim=8 encoder.width=4 trainer.max_epochs=1 trainer.limit_train_batches=3 trainer.progress=false"
    )
    done = project(
        f"python -m aetransfer.train {by_word} 'allow=[my_lab]' data=photo_digits encoder=pooled {tiny} {given}"
    )
    assert done.returncode == 0, done.stderr
    printed = {line.removeprefix("best: "): "the search" for line in out.splitlines() if line.startswith("best: ")}

    printed |= {line: str(path) for line, path in project.printed().items()}

    assert len(printed) > 15
    mains = {"train": train.main, "evaluate": evaluate.main}
    # What `predict` and `export` need beside a run, and that they answer as printed: test_docs.py.
    printed = {line: path for line, path in printed.items() if shlex.split(line)[2] not in OTHERS}
    assert {shlex.split(line)[2].removeprefix("aetransfer.") for line in printed} == set(mains)
    # As in a shell there, but for the seconds that each process would spend on imports.
    monkeypatch.chdir(project.folder)
    monkeypatch.syspath_prepend(project.folder)
    for name in [name for name in os.environ if name.startswith("AETRANSFER_")]:
        monkeypatch.delenv(name)
    for line, where in printed.items():
        _, _, module, *words = shlex.split(line)
        done = command(mains[module.removeprefix("aetransfer.")], *words)
        assert done.code == 0, f"{line}\n{where}\n{done.err}"
    assert not [path for path in project.folder.rglob("result.json") if '"interrupted"' in path.read_text()]
    cards = [path for path in project.folder.rglob("MODEL_CARD.md") if "load_encoder" in path.read_text()]
    for card in (cards[0], cards[-1]):
        snippets = re.findall(r"```python\n(.*?)```", card.read_text(), re.S)
        (snippet,) = [each for each in snippets if "load_encoder" in each]
        environment = {**os.environ, "PYTHONPATH": str(project.folder)}
        subprocess.run([sys.executable, "-c", snippet], cwd=card.parent, env=environment, check=True)


RESULT = {
    "command": ["/x/src/aetransfer/train.py", "-m", "--config-dir", "my conf", "sweep=mine", "allow=[my_lab]"],
    "overrides": ["sweep=mine", "launcher=joblib", "hydra.launcher.n_jobs=2", "allow=[my_lab]", "transfer=transplant",
                  "transfer.transplanted=2", "transfer.channels=grey", "encoder.widths=[4,8]", "rerun=true", "seed=1"],
    "config_dir": "/home/me/my conf",
}  # fmt: skip
FRONT = "python -m aetransfer.train --config-dir '/home/me/my conf'"

# Of the cards and reports: what uses a model.
OTHERS = ("aetransfer.predict", "aetransfer.export")


def test_a_sweeps_command_is_the_one_that_was_typed():
    assert launched(RESULT) == f"{FRONT} -m sweep=mine 'allow=[my_lab]'"


def test_that_of_a_job_alone_leaves_out_what_belongs_to_the_sweep():
    assert again(RESULT) == (
        f"{FRONT} 'allow=[my_lab]' transfer=transplant transfer.transplanted=2 transfer.channels=grey "
        "'encoder.widths=[4,8]' seed=1"
    )


def test_that_of_a_control_leaves_out_what_only_the_arm_takes():
    command = f"{FRONT} 'allow=[my_lab]' transfer.channels=grey 'encoder.widths=[4,8]' seed=1 transfer=scratch"

    assert of_control(RESULT, "scratch", {"transfer.transplanted": 2}) == command
    in_a_file = {**RESULT, "overrides": [word for word in RESULT["overrides"] if word != "transfer.transplanted=2"]}
    assert of_control(in_a_file, "scratch", {"transfer.transplanted": 2}) == f"{command} ++transfer.transplanted=null"


def test_a_run_of_before_has_the_folder_from_its_command(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    earlier = {key: value for key, value in RESULT.items() if key != "config_dir"}

    assert launched(earlier).startswith(f"python -m aetransfer.train --config-dir '{tmp_path}/my conf' -m ")
    assert allowed(earlier) == ["allow=[my_lab]"]


def test_what_was_submitted_is_submitted_again():
    typed = {**RESULT, "command": ["/x/bin/aetransfer-submit", "--config-dir", "my conf", "seed=0,1"]}

    assert launched(typed) == "python -m aetransfer.submit --config-dir '/home/me/my conf' seed=0,1"
