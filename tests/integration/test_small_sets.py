"""Few images, one class, a last batch of one: a number that means something, or a sentence."""

import pytest

from tests.integration.conftest import assert_refused
from tests.made import write_class_folder

SHORT = ("data=image_folder", "data.image_size=16", "encoder.widths=[4,4,4,4]", "encoder.latent_dim=4",
         "trainer.max_epochs=1", "logger=none", "callbacks=none")  # fmt: skip
# Maps of 16x16 images are of one pixel behind the fourth convolution.
NORMALISED = "encoder.batch_norm=true"
# Validation leaves 19 of these.
NINETEEN = {"cat": 10, "dog": 11}
LAST_OF_ONE = (
    "19 images an epoch in batches of 6 leave 1 in the last, and batch normalisation (encoder.convolutions.10) can't train "
    "on one image: set data.batch_size=5 or another data.epoch_images."
)


@pytest.fixture
def folder(tmp_path):
    """Write train and test with so many images of each class; returns the words for a short training on them."""

    def write(train, test):
        for part, counts in (("train", train), ("test", test)):
            write_class_folder(tmp_path / "images" / part, counts, size=16)
        return (*SHORT, f"data.root={tmp_path / 'images'}")

    return write


@pytest.mark.parametrize("stage", ["model=ae", "model=vae", "transfer=scratch"])
def test_a_last_batch_of_one_image_in_front_of_batch_normalisation_is_refused(run_train, folder, stage):
    words = (*folder(NINETEEN, {"cat": 1, "dog": 1}), stage, NORMALISED)

    assert_refused(run_train(*words, "data.batch_size=6"), LAST_OF_ONE)


def test_so_it_is_before_the_pretraining_of_a_transfer(run_train, folder, tmp_path):
    # digits are of 32x32 pixels.
    padded = ("data.pad=8", "encoder.widths=[4,4,4,4,4]", "data@pretrain.data=digits")
    words = (*folder(NINETEEN, {"cat": 1, "dog": 1}), "transfer=finetune", NORMALISED, *padded)

    assert_refused(run_train(*words, "data.batch_size=6"), LAST_OF_ONE.replace(".10", ".13"))
    assert not list((tmp_path / "outputs" / "runs").glob("pretrain*"))


@pytest.mark.parametrize(
    "words",
    [
        ("data.batch_size=5", NORMALISED),
        ("data.batch_size=6", NORMALISED, "data.epoch_images=18"),
        ("data.batch_size=6", NORMALISED, "trainer.limit_train_batches=3"),
        ("data.batch_size=6", NORMALISED, "encoder.widths=[4,4]"),
        ("data.batch_size=6",),
        ("data.batch_size=6", NORMALISED, "transfer=random_frozen"),
    ],
    ids=["other_size", "other_epoch", "not_reached", "larger_maps", "not_normalised", "frozen"],
)
def test_what_can_be_normalised_is_trained_on(run_train, folder, words):
    done = run_train(*folder(NINETEEN, {"cat": 1, "dog": 1}), "transfer=scratch", *words)

    assert done.code == 0, done.err


def test_measures_of_too_few_images_or_classes_are_refused_in_sentences(run_train, run_evaluate, folder):
    done = run_train(*folder({"cat": 6}, {"cat": 2}), "model=ae")
    assert (done.code, done.err) == (0, "")  # torch warns of the deviation of one validation image

    for words, sentence in (
        (("representation",), "evaluation=representation compares 4 images or more, and test has 2."),
        (("representation", "split=val"), "evaluation=representation compares 4 images or more, and val has 1."),
        (("fid", "split=val"), "evaluation=fid compares sets of 2 images or more: train has 5, val has 1."),
        (("probes",), "evaluation=probes tells classes apart, and image_folder has one: choose other data."),
        (
            ("transferability",),
            "evaluation=transferability tells classes apart, and image_folder has one: choose other data.",
        ),
    ):
        measure, *split = words
        assert_refused(run_evaluate(f"run={done.run}", f"evaluation={measure}", *split), sentence)


@pytest.mark.parametrize("measure", ["probes", "representation", "transferability", "classifier"])
def test_every_measure_of_a_transfer_is_taken_of_four_images(run_train, run_evaluate, folder, measure):
    run = run_train(*folder({"cat": 3, "dog": 3}, {"cat": 3, "dog": 1}), "transfer=scratch").run
    done = run_evaluate(f"run={run}", f"evaluation={measure}")

    assert done.code == 0, done.err
    assert "nan" not in done.out.split()


@pytest.mark.parametrize("measure", ["reconstruction", "fid", "vae"])
def test_every_measure_of_a_pretraining_is_taken_of_two_images(run_train, run_evaluate, folder, measure):
    run = run_train(*folder({"cat": 2, "dog": 2}, {"cat": 1, "dog": 1}), "model=vae").run
    samples = ["evaluation.vae.samples=5"] if measure == "vae" else []
    done = run_evaluate(f"run={run}", f"evaluation={measure}", *samples)

    assert done.code == 0, done.err
    assert "nan" not in done.out.split()
