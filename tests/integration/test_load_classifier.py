"""aetransfer.load_classifier: a finished transfer in anybody's program, of any task; and what its card says of it."""

import csv
import json
import os
import re
import shlex
import shutil
import subprocess
import sys

import numpy as np
import pytest
import torch

import aetransfer
from aetransfer import export, predict
from aetransfer.errors import UserError
from tests.integration.conftest import TINY, assert_refused
from tests.made import write_class_folder

IN_A_PROGRAM = """
import json, sys
import aetransfer
model = aetransfer.load_classifier(sys.argv[1])
import torch
heavy = {"hydra", "omegaconf", "pytorch_lightning", "lightning_fabric", "torchmetrics", "torchvision", "tensorboard"}
print(json.dumps([sorted(heavy & set(sys.modules)), list(model(torch.zeros(2, *model.encoder.input_shape)).shape)]))
"""

OWN_TASK = """
import torch
from torch import nn
from torch.nn import functional as F

from aetransfer.models.base import Task
from aetransfer.models.facts import Quantity

class Cubed(Task):
    title = "cubic classifier"
    metrics = {"nll": Quantity("nats an image")}

    def __init__(self, encoder, head, outputs, class_weights=None, label_smoothing=None):
        super().__init__(encoder, head, outputs)

    @classmethod
    def outputs_for(cls, targets, data):
        return len(targets.names) + 1

    def forward(self, inputs):
        return super().forward(inputs)[:, 1:] ** 3

    def probabilities(self, inputs):
        return self(inputs).softmax(1)

    def step(self, batch):
        nll = F.cross_entropy(self(batch.inputs), batch.targets, reduction="none")
        return {"loss": nll, "nll": nll}
"""


def images_of(model, count=5):
    return torch.rand(count, *model.encoder.input_shape, generator=torch.Generator().manual_seed(0))


@pytest.mark.slow
def test_a_program_that_loads_a_classifier_imports_neither_hydra_nor_lightning(finished, tmp_path):
    env = os.environ | {"AETRANSFER_OUTPUT_DIR": str(finished.parents[1])}
    words = [sys.executable, "-c", IN_A_PROGRAM, finished.name]  # by its name in the store
    done = subprocess.run(words, cwd=tmp_path, env=env, capture_output=True, text=True)

    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == [[], [2, 10]]


@pytest.mark.short
def test_it_predicts_what_the_command_predicts(finished, command, tmp_path):
    model = aetransfer.load_classifier(finished)
    pixels = (images_of(model) * 255).round().to(torch.uint8)
    for name, save in (("mine.npy", np.save), ("mine.npz", lambda path, array: np.savez(path, inputs=array))):
        save(tmp_path / name, pixels.numpy())
        done = command(predict.main, f"run={finished}", f"inputs={tmp_path}/{name}", f"out={tmp_path}/p.npz")
        assert done.code == 0, done.err
        table = np.load(tmp_path / "p.npz")
        with torch.inference_mode():
            probabilities = model(pixels / 255)

        assert not model.training and model.kind == "classes" and model.names == tuple("0123456789")
        np.testing.assert_allclose(table["probabilities"], probabilities, rtol=1e-5, atol=1e-7)
        assert table["predicted"].tolist() == model.predict(pixels / 255)


def test_one_image_file_is_predicted_as_in_its_folder(finished, command, tmp_path):
    write_class_folder(tmp_path / "mine", {"": 3}, size=20)
    first = sorted((tmp_path / "mine").iterdir())[0]
    tables = []
    for given in (tmp_path / "mine", first):
        done = command(predict.main, f"run={finished}", f"images={given}", f"out={tmp_path}/p.csv")
        assert done.code == 0, done.err
        with (tmp_path / "p.csv").open(newline="") as file:
            tables.append(list(csv.DictReader(file)))

    (alone,), (among, *others) = tables[1], tables[0]
    assert len(others) == 2 and alone["predicted"] == among["predicted"]
    assert float(alone["probability"]) == pytest.approx(float(among["probability"]), rel=1e-4)
    model = aetransfer.load_classifier(finished)
    assert model.predict(model.preprocess(first)[None]) == [tables[0][0]["predicted"]]


def test_what_cannot_predict_is_a_sentence(finished, finished_pretraining, tmp_path):
    unfinished = shutil.copytree(finished, tmp_path / "unfinished")
    (unfinished / "result.json").write_text('{"status": "running"}')

    for run, said in (
        (finished_pretraining, "is a pretraining, which tells no classes apart"),
        (unfinished, "has not finished: the command that began it goes on where it stopped"),
        (tmp_path / "nowhere", "is no run directory"),
    ):
        with pytest.raises(UserError, match=said):
            aetransfer.load_classifier(run)


def test_a_task_of_ones_own_is_loaded_and_exported_where_its_package_is_allowed(
    run_train, command, tmp_path, monkeypatch
):
    (tmp_path / "cubic_lab.py").write_text(OWN_TASK)
    monkeypatch.syspath_prepend(tmp_path)
    allow = "allow=[cubic_lab]"
    own = ("model._target_=cubic_lab.Cubed", "model.name=cubed", "model.monitor=null", allow)
    run = run_train(*TINY, "transfer=frozen", *own).run

    with pytest.raises(UserError, match=r"cubic_lab.Cubed is outside the packages .*allow=\[cubic_lab\]"):
        aetransfer.load_classifier(run)
    model = aetransfer.load_classifier(run, allow=["cubic_lab"])
    with torch.inference_mode():
        probabilities = model(images_of(model))
    assert probabilities.shape == (5, 10)
    done = command(export.main, f"run={run}", "formats=torch_export", allow)
    assert done.code == 0, done.err
    exported = torch.export.load(run / "model.pt2").module()(images_of(model))
    torch.testing.assert_close(exported, probabilities, rtol=1e-4, atol=1e-6)


def test_the_card_uses_the_model_as_printed(finished, command, monkeypatch, tmp_path):
    run = shutil.copytree(finished, tmp_path / "run")
    monkeypatch.chdir(run)
    page = (run / "MODEL_CARD.md").read_text()
    write_class_folder(run / "FOLDER", {"": 2}, size=20)
    shell, program, _ = re.findall(r"```(?:bash|python)\n(.*?)```", page, flags=re.S)

    for line in shell.splitlines():
        module, *words = shlex.split(line, comments=True)[2:]
        main = {"aetransfer.predict": predict.main, "aetransfer.export": export.main}[module]
        done = command(main, *words)
        assert done.code == 0, done.err
    assert (run / "predictions.csv").is_file() and (run / "model.pt2").is_file()
    made = {}
    exec(program, made)
    assert made["predicted"].shape == (4, 10)
    assert "probabilities of the classes, each row a softmax that sums to 1: 0, 1, 2," in page


def test_a_pretraining_has_no_model_to_export(finished_pretraining, command):
    assert_refused(
        command(export.main, f"run={finished_pretraining}", "formats=torch_export", "part=model"),
        f"{finished_pretraining} has no head, as it is no transfer's directory: part=encoder exports its encoder.",
    )
