"""Memory that does not suffice: what to lower is said, and the largest batch that fits can be asked for."""

import json

import pytest
import torch

from aetransfer import batch_size, embed, predict
from aetransfer.models.autoencoder import AutoEncoder
from aetransfer.networks.conv4 import Conv4
from tests.integration.conftest import TINY_PRETRAINING, assert_is_one_sentence, assert_refused
from tests.made import names_in, write_class_folder

PRETRAINING = (*TINY_PRETRAINING, "model=ae", "trainer.limit_train_batches=4", "logger=none", "callbacks=none")
ADVICE = (
    "lower data.batch_size (python -m aetransfer.batch_size finds one that fits), encoder.widths or "
    "data.max_memory_gb, or choose trainer.precision=bf16-mixed."
)
ON_A_GPU = torch.OutOfMemoryError(
    "CUDA out of memory. Tried to allocate 2.00 GiB. GPU 0 has a total capacity of 79.10 GiB of which 1 GiB is free."
)


@pytest.fixture
def memory_for(monkeypatch):
    """Let steps of more images than these end as they would on a device whose memory is full."""

    def limit(images, error):
        original = AutoEncoder.training_step

        def step(self, batch, *rest):
            if len(batch[0]) > images:
                raise error
            return original(self, batch, *rest)

        monkeypatch.setattr(AutoEncoder, "training_step", step)

    return limit


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (ON_A_GPU, "CUDA out of memory"),
        (RuntimeError("[enforce fail at alloc_cpu.cpp:127] err == 0. DefaultCPUAllocator: can't allocate memory: you tried"), "[enforce fail at alloc_cpu.cpp:127] err == 0"),
        (MemoryError(), "MemoryError"),
    ],
    ids=["gpu", "ram", "numpy"],
)  # fmt: skip
def test_what_to_lower_is_said_where_memory_does_not_suffice(run_train, memory_for, tmp_path, error, said):
    memory_for(0, error)

    assert_refused(run_train(*PRETRAINING), f"Out of memory ({said}): {ADVICE}")

    (run,) = (tmp_path / "outputs" / "runs").glob("[!.]*")
    result = json.loads((run / "result.json").read_text())
    assert result["status"] == "failed" and "data.batch_size" in result["error"]


@pytest.mark.slow
def test_the_largest_batch_that_fits_is_found_and_nothing_is_kept(command, memory_for, tmp_path):
    memory_for(100, ON_A_GPU)

    done = command(batch_size.main, *PRETRAINING)

    assert done.code == 0, done.err
    assert done.out.splitlines()[-1] == "The largest batch that fits, of those tried by doubling: data.batch_size=64"
    assert not (tmp_path / "outputs").exists()


@pytest.mark.slow
def test_a_batch_is_never_larger_than_the_data(command, memory_for):
    done = command(batch_size.main, *PRETRAINING, "data.labels_per_class=3")

    assert done.code == 0, done.err
    assert int(done.out.rpartition("=")[2]) <= 30


def test_a_batch_size_is_found_for_one_job(command):
    done = command(batch_size.main, "-m", *PRETRAINING)

    assert done.code == 1
    assert_is_one_sentence(done.err)


@pytest.fixture
def encoder_memory_for(monkeypatch):
    """Let encoders end as on a GPU whose memory is full, where they are given more images than these."""

    def limit(images):
        original = Conv4.features

        def features(self, batch):
            if len(batch) > images:
                raise ON_A_GPU
            return original(self, batch)

        monkeypatch.setattr(Conv4, "features", features)

    return limit


def test_a_run_that_is_measured_again_needs_less_memory_with_smaller_batches(
    run_evaluate, finished, encoder_memory_for
):
    encoder_memory_for(16)

    assert_refused(
        run_evaluate(f"run={finished}"),
        "Out of memory (CUDA out of memory): name the run's data in the command (data=photo_digits) and lower "
        "data.batch_size=32 or data.max_memory_gb=8, or choose accelerator=cpu.",
    )
    assert_refused(
        run_evaluate(f"run={finished}", "data=photo_digits", "data.batch_size=20"),
        "Out of memory (CUDA out of memory): lower data.batch_size=20 or data.max_memory_gb=8, or choose "
        "accelerator=cpu.",
    )
    assert run_evaluate(f"run={finished}", "data=photo_digits", "data.batch_size=16").code == 0


@pytest.mark.parametrize(
    ("measure", "lower"),
    [
        ("probes", "lower evaluation.probes.max_features, or "),
        ("representation", "lower evaluation.representation.batch or evaluation.representation.images or "
                           "evaluation.representation.max_features, or "),
        ("transferability", "lower evaluation.transferability.images or evaluation.transferability.max_features, or "),
        ("classifier", ""),
    ],
)  # fmt: skip
def test_a_measure_names_its_own_settings_that_decide_how_much_memory_it_needs(
    run_evaluate, finished, encoder_memory_for, measure, lower
):
    encoder_memory_for(1)

    done = run_evaluate(f"run={finished}", f"evaluation={measure}")

    assert_refused(done, f"Out of memory (CUDA out of memory): {lower}choose accelerator=cpu.")
    assert not (finished / "evaluation" / f"{measure}.json").exists()


def test_baselines_that_need_too_much_memory_are_named_by_the_key_that_leaves_them_out(
    run_evaluate, finished, monkeypatch
):
    def full(*arguments):
        raise MemoryError

    monkeypatch.setattr("aetransfer.evaluation.probes.fit_pca", full)
    words = (
        "evaluation.probes.baselines=[pca]",
        "evaluation.probes.layers=[bottleneck]",
        "evaluation.probes.probes=[knn]",
    )
    done = run_evaluate(f"run={finished}", "evaluation=probes", *words)

    lower = "leave pixels and pca out of evaluation.probes.baselines"
    assert_refused(done, f"Out of memory (MemoryError): {lower}, or take a machine with more of it.")


@pytest.mark.slow
def test_measures_of_large_images_hold_no_covariance_of_their_pixels(run_train, run_evaluate, tmp_path):
    """Of 224x224 pixels in colour it would take 181 GB."""
    write_class_folder(tmp_path / "large" / "train", {"cat": 12, "dog": 12}, size=224)
    words = ("data=image_folder", f"data.root={tmp_path / 'large'}", "data.image_size=224", "data.batch_size=8")
    run = run_train(*PRETRAINING[1:], *words, "trainer.max_epochs=1", "trainer.limit_train_batches=1").run
    layer = (
        "evaluation.probes.layers=[bottleneck]",
        "evaluation.probes.mlp_epochs=1",
        "evaluation.probes.probes=[knn]",
    )

    probes = run_evaluate(f"run={run}", "evaluation=probes", *layer)
    reconstruction = run_evaluate(f"run={run}", "evaluation=reconstruction")

    assert (probes.code, reconstruction.code) == (0, 0), probes.err + reconstruction.err
    assert "pixels and pca: of images averaged to 36x36" in probes.out
    assert "pca: fitted batch by batch (scikit-learn's IncrementalPCA), as 18 examples of 150528" in reconstruction.out


@pytest.mark.slow
def test_a_measure_that_asks_for_more_memory_than_a_machine_can_address_says_what_to_lower(run_train, run_evaluate):
    run = run_train(*PRETRAINING[:-2], "logger=none", "callbacks=none", "model=vae", "encoder.latent_dim=65536").run

    done = run_evaluate(f"run={run}", "evaluation=vae", "evaluation.vae.samples=2000000000")

    assert done.code == 1
    assert_is_one_sentence(done.err)
    assert done.err.startswith("error: Out of memory (")
    assert done.err.endswith(
        "): lower evaluation.vae.decoded_at_once or evaluation.vae.samples, or take a machine with more of it.\n"
    )


@pytest.mark.parametrize("main", [embed.main, predict.main], ids=["embed", "predict"])
def test_images_that_do_not_fit_memory_in_one_batch_fit_in_smaller_ones(
    command, finished, encoder_memory_for, tmp_path, main
):
    encoder_memory_for(8)
    write_class_folder(tmp_path / "images", {"cat": 12})
    words = (f"run={finished}", f"out={tmp_path}/table.csv")

    assert_refused(
        command(main, *words, f"images={tmp_path}/images"),
        "Out of memory (CUDA out of memory): lower batch_size=256, give fewer images at a time, or choose "
        "accelerator=cpu.",
    )
    assert_refused(
        command(main, *words, "data=photo_digits", "batch_size=9"),
        "Out of memory (CUDA out of memory): lower batch_size=9, or choose accelerator=cpu.",
    )
    assert names_in(tmp_path) == {"images"}
    assert command(main, *words, f"images={tmp_path}/images", "batch_size=8").code == 0
