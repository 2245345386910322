"""python -m aetransfer.export: a model or an encoder as torch.export and ONNX, found to give the same outputs."""

import json
import shutil

import numpy as np
import pytest
import torch

import aetransfer
from aetransfer import export
from aetransfer.origin import pip_install
from aetransfer.transfer import portable
from tests import targets
from tests.integration.conftest import TINY_PRETRAINING, assert_refused


@pytest.fixture
def run_export(command):
    return lambda *words: command(export.main, *words)


@pytest.fixture
def run(finished, tmp_path):
    return shutil.copytree(finished, tmp_path / "run")


@pytest.mark.slow
@pytest.mark.parametrize("kind", [pytest.param("conv4 for colour", marks=pytest.mark.short), "conv for grey"])
def test_exported_encoders_give_the_same_codes_for_any_number_of_images(run_train, run_export, run, kind):
    onnxruntime = pytest.importorskip("onnxruntime")
    if kind == "conv for grey":  # a few steps give its normalisation statistics
        words = ("encoder=conv", "encoder.hidden=[16]", "trainer.limit_train_batches=5", "logger=none")
        run = run_train(*TINY_PRETRAINING, "model=ae", *words, "callbacks=none").run
    done = run_export(f"run={run}", "formats=[torch_export,onnx]", "part=encoder")

    assert done.code == 0, done.err
    assert done.out.count("on the run's own inputs") == 2
    encoder = aetransfer.load_encoder(run)
    program = torch.export.load(run / "encoder.pt2").module()
    session = onnxruntime.InferenceSession(run / "encoder.onnx", providers=["CPUExecutionProvider"])
    for count in (1, 5, 64):
        images = torch.rand(count, *encoder.input_shape, generator=torch.Generator().manual_seed(count))
        with torch.inference_mode():
            codes = encoder(images).numpy()
            assert np.abs(program(images).numpy() - codes).max() <= 1e-4 * np.abs(codes).max()
        assert np.abs(session.run(None, {"images": images.numpy()})[0] - codes).max() <= 1e-4 * np.abs(codes).max()


@pytest.mark.slow
def test_an_export_that_gives_other_codes_is_not_kept(run_export, run, monkeypatch):
    original = portable._read_program
    monkeypatch.setattr(portable, "_read_program", lambda path: lambda images: original(path)(images) * 1.01)
    done = run_export(f"run={run}", "formats=torch_export")

    assert_refused(
        done,
        "formats=torch_export: the exported network's probabilities deviate by 0.01 of the largest, which is more than 0.0001: it is not kept.",
    )
    assert not list(run.glob("*.pt2")) and not list(run.glob(".model.pt2*"))


@pytest.mark.slow
@pytest.mark.short
@pytest.mark.parametrize(("reader", "model"), [(None, "classifier"), ("discs", "regressor"), ("lamps", "multilabel")])
def test_whole_models_give_the_same_predictions_and_name_them(run_train, run_export, run, reader, model):
    onnxruntime = pytest.importorskip("onnxruntime")
    if reader is not None:
        run = run_train(*targets.words(reader, model=model)).run
    allow = [] if reader is None else ["tests"]
    done = run_export(f"run={run}", "formats=[torch_export,onnx]", f"allow=[{','.join(allow)}]")

    assert done.code == 0, done.err
    classifier = aetransfer.load_classifier(run)
    described = {"aetransfer": ""}
    program = torch.export.load(run / "model.pt2", extra_files=described).module()
    session = onnxruntime.InferenceSession(run / "model.onnx", providers=["CPUExecutionProvider"])
    for text in (described["aetransfer"], session.get_modelmeta().custom_metadata_map["aetransfer"]):
        assert json.loads(text)[classifier.kind] == list(classifier.names)
        assert json.loads(text)["input"]["shape"][1:] == list(classifier.encoder.input_shape)
    images = torch.rand(5, *classifier.encoder.input_shape, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        expected = classifier(images).numpy()
    np.testing.assert_allclose(program(images).detach(), expected, rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(session.run(None, {"images": images.numpy()})[0], expected, rtol=1e-4, atol=1e-6)


def test_a_missing_package_is_named_with_what_to_install(run_export, run, monkeypatch):
    monkeypatch.setattr(export, "find_spec", lambda name: None if name == "onnxscript" else object())

    assert_refused(run_export(f"run={run}", "formats=onnx"), f"formats=onnx needs onnxscript: {pip_install('onnx')}.")


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        ("run=R", "formats must be given: add formats=... to the command."),
        ("run=R formats=onyx", "formats.0=onyx should be 'torch_export' or 'onnx'."),
        ("run=R formats=torch_export,onnx", "formats=torch_export,onnx names several values, and export takes one: quote a name with a comma."),
        ("run=nowhere formats=torch_export", "nowhere does not exist: give a run directory, an encoder.safetensors or a checkpoint."),
        ("rn=R formats=torch_export", "rn is no config key or group (did you mean run)."),
    ],
)  # fmt: skip
def test_an_export_that_cannot_work_is_refused_before_torch_is_imported(torchless, finished, words, sentence):
    done = torchless("export", *words.replace("run=R", f"run={finished}").split())

    assert_refused(done, sentence)
    assert not done.torch
