"""python -m aetransfer.evaluate evaluation=...: what is measured of a run beyond its own test."""

import json
import sys
from types import ModuleType

import pytest
import torch
from sklearn.neighbors import KNeighborsClassifier

from aetransfer import load_encoder
from aetransfer.origin import pip_install
from aetransfer.training.build import make_data
from tests.integration.conftest import TINY, TINY_PRETRAINING, assert_refused, job_of

QUIET = (*TINY_PRETRAINING, "logger=none", "callbacks=none", "trainer.limit_train_batches=3")


def measured(run, name):
    return json.loads((run / "evaluation" / f"{name}.json").read_text())


@pytest.mark.slow
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
    from aetransfer.data.module import DataModule

    opened = []
    original = DataModule._open
    monkeypatch.setattr(DataModule, "_open", lambda self, split: (opened.append(split), original(self, split))[1])
    words = (
        f"run={done.run}",
        "evaluation=probes",
        "evaluation.probes.baselines=[]",
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
    words = (
        "evaluation=probes",
        "evaluation.probes.probes=[logistic]",
        "evaluation.probes.layers=[bottleneck]",
        "evaluation.probes.baselines=[]",
    )
    run_evaluate(f"run={done.run}", *words)
    run_evaluate(f"run={done.run}", *words, "data=digits")

    rows = [measured(done.run, name)["rows"][0] for name in ("probes", "probes-digits")]
    assert rows[0]["features"] == "transfer"
    assert rows[0]["logistic"] != rows[1]["logistic"]


@pytest.mark.slow
def test_what_is_measured_with_other_labels_of_the_same_data_does_not_replace_what_the_run_has(run_train, run_evaluate):
    done = run_train(*QUIET, "model=ae")
    words = ("evaluation=probes", "evaluation.probes.probes=[knn]", "evaluation.probes.layers=[bottleneck]")
    run_evaluate(f"run={done.run}", *words)
    own = measured(done.run, "probes")
    run_evaluate(f"run={done.run}", *words, "data=digits")
    assert measured(done.run, "probes")["rows"] == own["rows"]
    run_evaluate(f"run={done.run}", *words, "data=digits", "data.labels_per_class=3")

    (other,) = (done.run / "evaluation").glob("probes-digits-*.json")
    assert measured(done.run, "probes")["rows"] == own["rows"] != measured(done.run, other.stem)["rows"]


def test_a_layer_that_there_is_not_is_refused_with_those_there_are(run_train, run_evaluate):
    done = run_train(*QUIET, "model=ae")
    refused = run_evaluate(f"run={done.run}", "evaluation=probes", "evaluation.probes.layers=[conv1]")

    assert_refused(
        refused,
        "evaluation.probes.layers: the encoder has no conv1, its layers are layer1, layer2, layer3, layer4, bottleneck.",
    )
    assert not (done.run / "evaluation").exists()


FAST = ("evaluation.vae.samples=5", "evaluation.vae.images=20", "evaluation.fid.epochs=1", "evaluation.fid.images=100",
        "evaluation.representation.images=100", "evaluation.representation.batch=50", "evaluation.transferability.images=200")  # fmt: skip


@pytest.mark.short
@pytest.mark.slow
def test_a_vae_is_measured_in_every_way_that_it_can_be(run_train, run_evaluate):
    done = run_train(*QUIET, "model=vae")
    chosen = "evaluation=[reconstruction,vae,fid,representation,transferability]"
    shown = run_evaluate(f"run={done.run}", chosen, *FAST)

    assert shown.code == 0, shown.err
    (terms,) = measured(done.run, "vae")["rows"]
    # The run's own test drew other codes.
    assert terms["neg_elbo"] == pytest.approx(done.result["metrics"]["test/neg_elbo"], rel=0.03)
    assert terms["rate"] == pytest.approx(sum(measured(done.run, "vae")["kl_per_unit"]))
    assert terms["iw_nll (k=5)"] == terms["neg_elbo"] - terms["gap"] < terms["neg_elbo"]
    pictures = {path.name for path in (done.run / "evaluation").glob("*.png")}
    assert pictures == {"vae-kl_per_unit.png", "representation-cka_itself.png", "representation-cka_random.png"}
    floor = {row["images"]: row["fid_own"] for row in measured(done.run, "fid")["rows"]}
    assert floor["training images"] < floor["prior samples"]
    linear = measured(done.run, "reconstruction")["rows"][1]
    assert linear["reconstructed by"] == "pca, 8 components"
    itself = measured(done.run, "representation")["cka"]["itself"]["cka"]
    assert [itself[place][place] for place in range(5)] == pytest.approx([1.0] * 5)
    # The classes less one, which 200 images of more features than that reach, but for rounding.
    assert max(row["h_score"] for row in measured(done.run, "transferability")["rows"]) <= 9 + 1e-6


@pytest.mark.short
@pytest.mark.slow
def test_a_transfer_is_measured_beside_what_it_started_from(run_train, run_evaluate):
    done = run_train(*TINY, "transfer=finetune")
    shown = run_evaluate(f"run={done.run}", "evaluation=[classifier,representation,transferability]", *FAST[4:])

    assert shown.code == 0, shown.err
    classes = measured(done.run, "classifier")
    assert classes["rows"][-1]["acc"] == pytest.approx(done.result["metrics"]["test/acc"])
    assert classes["ece"] == pytest.approx(done.result["metrics"]["test/ece"], abs=1e-4)
    assert classes["nll"] == pytest.approx(done.result["metrics"]["test/nll"], rel=1e-4)
    assert sum(map(sum, classes["confusion"])) == 360
    rows = measured(done.run, "representation")["rows"]
    # A few steps of fine-tuning leave the carried encoder more alike itself than a random one is.
    assert rows[0]["cka_source"] > 0.9
    assert {"cka_random", "cka_source"} <= set(rows[0])
    carried = measured(done.run, "transferability")
    frozen = run_train(*TINY, "transfer=frozen")
    run_evaluate(f"run={frozen.run}", "evaluation=transferability", FAST[-1])
    assert measured(frozen.run, "transferability")["bottleneck"] == pytest.approx(carried["bottleneck"])


@pytest.mark.slow
def test_what_a_transfer_promised_is_scored_on_the_encoder_that_its_arm_began_with(run_train, run_evaluate):
    def score(*arm):
        run = run_train(*TINY, *arm).run
        run_evaluate(f"run={run}", "evaluation=transferability", FAST[-1])
        return measured(run, "transferability")["bottleneck"]["logme"]

    whole = score("transfer=finetune")
    assert score("transfer=transplant", "transfer.transplanted=5") == pytest.approx(whole)
    parts = [
        score("transfer=transplant", "transfer.transplanted=2"),
        score("transfer=shuffled"),
        score("transfer=moments"),
    ]
    assert len({round(value, 6) for value in (whole, *parts)}) == 4


@pytest.mark.slow
def test_a_comparison_that_is_done_anew_leaves_nothing_of_the_last_and_names_each_encoder(
    run_train, run_evaluate, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    # As it is said on the command line: a path that other directories know nothing of.
    words = ("paths.output_dir=out", "transfer=finetune")
    done, other = run_train(*TINY, *words), run_train(*TINY, *words, "seed=1")
    run, another = done.run.absolute(), other.run.absolute()
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    compare = (f"run={run}", "evaluation=representation", *FAST[4:6])
    run_evaluate(*compare, f"evaluation.representation.others=[{another}/checkpoints/best.ckpt]")
    rows = measured(run, "representation")["rows"]
    assert {"cka_random", "cka_source", f"cka_{another.name}"} <= set(rows[0])

    refused = run_evaluate(*compare, f"evaluation.representation.others=[{another},{another}/encoder.safetensors]")
    assert_refused(
        refused,
        f"evaluation.representation.others: there are two encoders called {another.name}: rename "
        f"{another}/encoder.safetensors.",
    )
    run_evaluate(*compare)
    pictures = {path.name for path in (run / "evaluation").glob("*.png")}
    assert pictures == {f"representation-cka_{name}.png" for name in ("itself", "random", "source")}


@pytest.mark.slow
def test_inceptions_distance_is_taken_of_the_features_that_its_weights_give(
    run_train, run_evaluate, tmp_path, monkeypatch
):
    import torch
    from torchmetrics.image import fid

    from aetransfer.evaluation.fid import frechet_distance

    seen = []

    class Features(torch.nn.Module):
        num_features = 12

        def forward(self, images):
            assert images.shape[1] == 3
            seen.append(torch.nn.functional.adaptive_avg_pool2d(images.double(), 2).flatten(1))
            return seen[-1]

    class Distance(fid.FrechetInceptionDistance):
        def __init__(self, normalize, feature_extractor_weights_path):
            assert feature_extractor_weights_path == f"{tmp_path}/weights.pth"
            super().__init__(feature=Features(), normalize=normalize)

    monkeypatch.setattr(fid, "FrechetInceptionDistance", Distance)
    monkeypatch.setitem(sys.modules, "torch_fidelity", ModuleType("torch_fidelity"))
    (tmp_path / "weights.pth").write_bytes(b"")
    done = run_train(*QUIET, "model=ae")
    words = ("evaluation=fid", f"evaluation.fid.inception_weights={tmp_path}/weights.pth", *FAST[2:4])
    run_evaluate(f"run={done.run}", *words)

    found = [row["fid_inception"] for row in measured(done.run, "fid")["rows"]]
    sets = [features for features in seen if len(features) > 1]
    assert found == pytest.approx([frechet_distance(*sets[:2]), frechet_distance(*sets[2:])], rel=1e-4)
    assert found[0] > found[1] > 0


@pytest.mark.parametrize(
    ("model", "measure", "sentence"),
    [
        (
            "ae",
            "vae",
            "evaluation=vae needs a model that gives a posterior, and this run's (autoencoder) does not: leave it out.",
        ),
        (
            "ae",
            "classifier",
            "evaluation=classifier needs a model that tells classes apart, and this run's (autoencoder) does not: leave it out.",
        ),
        (
            "ae",
            "fid evaluation.fid.inception_weights=nowhere.pth",
            "evaluation.fid.inception_weights: nowhere.pth does not exist.",
        ),
    ],
)
def test_what_a_run_does_not_have_is_refused(run_train, run_evaluate, model, measure, sentence):
    done = run_train(*QUIET, f"model={model}")

    assert_refused(run_evaluate(f"run={done.run}", *f"evaluation={measure}".split()), sentence)


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["model=ae", "data=digits", "evaluation=vae"], "evaluation=vae needs a model that gives a posterior, and this run's (ae) does not: leave it out."),
        (["model=vae", "data=digits", "evaluation=[vae,classifier]"], "evaluation=classifier needs a model that tells classes apart, and this run's (vae) does not: leave it out."),
        ([*TINY, "evaluation=[probes,fid]"], "evaluation=fid needs a model that reconstructs its inputs, and this run's (classifier) does not: leave it out."),
        (["-m", "model=vae,ae", "data=digits", "evaluation=vae"], "evaluation=vae needs a model that gives a posterior, and this run's (ae) does not: leave it out."),
        (["--identity", *TINY, "evaluation=reconstruction"], "evaluation=reconstruction needs a model that reconstructs its inputs, and this run's (classifier) does not: leave it out."),
    ],
)  # fmt: skip
def test_a_training_that_asks_for_what_its_model_does_not_have_is_refused_before_it(torchless, words, sentence):
    done = torchless("train", *words)

    assert_refused(done, sentence)
    assert not done.torch


def test_inception_weights_without_torch_fidelity_are_answered_with_how_to_get_it(
    run_train, run_evaluate, tmp_path, monkeypatch
):
    done = run_train(*QUIET, "model=ae")
    (tmp_path / "weights.pth").write_bytes(b"")
    monkeypatch.setitem(sys.modules, "torch_fidelity", None)

    refused = run_evaluate(
        f"run={done.run}", "evaluation=fid", f"evaluation.fid.inception_weights={tmp_path}/weights.pth"
    )
    assert f"needs torch-fidelity: {pip_install('inception')}" in refused.err
    assert refused.code == 1


@pytest.mark.slow
def test_training_ends_in_the_measures_that_its_command_asks_for(run_train):
    done = run_train(*QUIET, "model=ae", "evaluation=reconstruction")
    again = run_train(*QUIET, "model=ae")

    assert again.run == done.run
    assert measured(done.run, "reconstruction")["rows"][0]["mse"] == pytest.approx(
        done.result["metrics"]["test/mse"], rel=1e-4
    )


@pytest.mark.parametrize("model", ["ae", "vae"])
def test_the_online_probe_is_a_curve_and_changes_no_bit_of_the_training(run_train, model):
    words = (*QUIET, f"model={model}")
    plain = run_train(*words)
    weights = (plain.run / "encoder.safetensors").read_bytes()
    history = json.loads((plain.run / "history.json").read_text())
    probe = ("callbacks=probe", "callbacks.probe.images=100", "callbacks.probe.neighbours=3")
    probed = run_train(*words, *probe, "rerun=true")

    assert probed.run == plain.run
    assert (probed.run / "encoder.safetensors").read_bytes() == weights
    rows = json.loads((probed.run / "history.json").read_text())
    accuracies = [row.pop("val/probe_acc") for row in rows]
    assert rows == history
    train, val = (codes_of_the_last_epoch(probed.run, job_of(*words), part, 100) for part in ("train", "val"))
    assert accuracies[-1] == pytest.approx(KNeighborsClassifier(3, algorithm="brute").fit(*train).score(*val))


def codes_of_the_last_epoch(run, job, part, count):
    """Codes and labels of `count` images of a part, evenly spaced over it."""
    data = make_data(job.data, job.seed, job.allow)
    data.setup("fit")
    ((images, labels),) = data.in_order(part, data.count(part), torch.device("cpu"))
    places = [place * len(images) // count for place in range(count)]
    with torch.no_grad():
        return load_encoder(run / "checkpoints" / "last.ckpt")(images[places]).numpy(), labels[places].numpy()
