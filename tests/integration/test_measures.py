"""python -m aetransfer.evaluate evaluation=...: what is measured of a run beyond its own test."""

import json

import pytest

from tests.integration.conftest import TINY, TINY_PRETRAINING, assert_refused

QUIET = (*TINY_PRETRAINING, "logger=none", "callbacks=none", "trainer.limit_train_batches=3")


def measured(run, name):
    return json.loads((run / "evaluation" / f"{name}.json").read_text())


def test_probes_have_a_row_for_each_layer_and_each_baseline(run_train, run_evaluate):
    done = run_train(*QUIET, "model=vae")
    before = done.result
    shown = run_evaluate(f"run={done.run}", "evaluation=probes", "evaluation.probes.mlp_epochs=2")

    assert shown.code == 0, shown.err
    found = measured(done.run, "probes")
    layers = ["layer1", "layer2", "layer3", "layer4", "bottleneck"]
    assert [(row["features"], row["layer"]) for row in found["rows"]] == [
        *(("pretrain", layer) for layer in layers),
        *(("random", layer) for layer in layers),
        ("pixels", ""),
        ("pca", ""),
    ]
    pixels = found["rows"][-2]
    assert pixels["knn"] > 0.9  # as everybody knows of these digits
    assert {"knn", "k", "logistic", "C", "mlp", "epoch", "size"} <= set(pixels)
    assert f"{pixels['logistic']:.4g}" in shown.out
    assert (found["split"], found["data"], found["settings"]["mlp_epochs"]) == ("test", "digits", 2)
    assert done.result == before


def test_what_is_measured_on_validation_never_opens_the_test_split(run_train, run_evaluate, monkeypatch):
    done = run_train(*QUIET, "model=ae")
    from aetransfer.data.module import ImageDataModule

    opened = []
    original = ImageDataModule._open
    monkeypatch.setattr(ImageDataModule, "_open", lambda self, split: (opened.append(split), original(self, split))[1])
    words = (
        f"run={done.run}",
        "evaluation=probes",
        "evaluation.probes.probes=[knn]",
        "evaluation.probes.layers=[layer2]",
    )
    run_evaluate(*words, "split=val")
    assert set(opened) == {"train"}
    row = measured(done.run, "probes-val")["rows"][0]
    assert row["knn"] == row["val_knn"]

    run_evaluate(*words)
    assert set(opened) == {"train", "test"}


def test_a_transferred_encoder_is_probed_on_its_target_and_on_other_data(run_train, run_evaluate):
    done = run_train(*TINY, "transfer=scratch")
    words = ("evaluation=probes", "evaluation.probes.probes=[logistic]", "evaluation.probes.layers=[bottleneck]")
    run_evaluate(f"run={done.run}", *words)
    run_evaluate(f"run={done.run}", *words, "data=digits")

    rows = [measured(done.run, name)["rows"][0] for name in ("probes", "probes-digits")]
    assert rows[0]["features"] == "transfer"
    assert rows[0]["logistic"] != rows[1]["logistic"]


def test_a_layer_that_there_is_not_is_refused_with_those_there_are(run_train, run_evaluate):
    done = run_train(*QUIET, "model=ae")
    refused = run_evaluate(f"run={done.run}", "evaluation=probes", "evaluation.probes.layers=[conv1]")

    assert_refused(
        refused,
        "evaluation.probes.layers: the encoder has no conv1, its layers are layer1, layer2, layer3, layer4, bottleneck.",
    )
    assert not (done.run / "evaluation").exists()


@pytest.mark.parametrize("model", ["ae", "vae"])
def test_the_online_probe_is_a_curve_and_changes_no_bit_of_the_training(run_train, model):
    words = (*QUIET, f"model={model}")
    plain = run_train(*words)
    weights = (plain.run / "encoder.safetensors").read_bytes()
    history = json.loads((plain.run / "history.json").read_text())
    probed = run_train(*words, "callbacks=probe", "rerun=true")

    assert probed.run == plain.run
    assert (probed.run / "encoder.safetensors").read_bytes() == weights
    rows = json.loads((probed.run / "history.json").read_text())
    assert all(0.1 < row.pop("val/probe_acc") <= 1 for row in rows)
    assert rows == history
