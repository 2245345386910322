"""Pretexts, arms and augmentations on signals, vectors and images of floats: whole commands on made data."""

import pytest

from tests.integration.conftest import assert_refused

ENCODERS = {
    "signals": ("encoder=conv1d", "encoder.widths=[8,8,16,16]"),
    "images": ("encoder=conv4", "encoder.widths=[4,8,8,8]"),
    "vectors": ("encoder=mlp", "encoder.hidden=[32,16]"),
}
SHAPES = {"signals": "[3, 40]", "images": "[5, 20, 16]", "vectors": "[24]"}
VIEWS = {"signals": "signal_views", "images": "image_views", "vectors": "vector_views"}


@pytest.fixture
def train(run_train, write_config, tmp_path):
    """Train on waves of the asked kind, and on the same kind of source."""
    base = "defaults: [_base]\nname: {0}\nbatch_size: 8\nreader:\n  _target_: tests.made.read_waves\n  shape: {1}\n"
    folder = write_config(**{f"data/{kind}": base.format(kind, shape) for kind, shape in SHAPES.items()})

    def call(kind, *words):
        own = ("allow=[tests]", f"data={kind}", *ENCODERS.get(kind, ()), "encoder.latent_dim=8", "logger=none")
        return run_train(*folder, *own, "callbacks=none", f"paths.output_dir={tmp_path}", *words)

    return call


@pytest.mark.parametrize(
    ("kind", "model", "words"),
    [
        ("signals", "denoising", ("model.masked=0.2",)),
        ("images", "masked", ()),
        ("vectors", "masked", ()),
        ("signals", "vae", ("model.likelihood=gaussian",)),
        ("vectors", "iwae", ("model.likelihood=gaussian", "model.samples=2")),
        ("signals", "contrastive", ("views=signal_views",)),
        ("images", "contrastive", ("views=image_views",)),
        ("vectors", "vicreg", ("views=vector_views",)),
    ],
)
def test_a_pretext_says_of_which_inputs_and_in_which_unit_its_numbers_are(train, kind, model, words):
    done = train(kind, f"model={model}", "trainer.max_epochs=1", *words)
    assert done.code == 0, done.err

    said = done.result["model"]
    text = " ".join([*said["caveats"], said["summary"], *(each["words"] for each in said["metrics"].values())])
    assert kind[:-1] in text
    assert "pixel" not in text and ("image" in text) == (kind == "images")
    assert ("standardised inputs" in text) == ("views" not in "".join(words))


ARMS = ("finetune", "frozen", "shuffled", "moments", "transplant", "gradual", "finetune_layerwise")


@pytest.mark.slow
@pytest.mark.parametrize(("kind", "arm"), [(kind, arm) for kind in ("signals", "vectors") for arm in ARMS])
def test_every_arm_carries_an_encoder_of_signals_and_of_vectors(train, kind, arm):
    source = (f"data@pretrain.data={kind}", "pretrain.trainer.max_epochs=1", "trainer.max_epochs=2")
    done = train(kind, f"transfer={arm}", *source, *(["transfer.transplanted=1"] if arm == "transplant" else []))

    assert done.code == 0, done.err
    assert 0 <= done.result["metrics"]["test/acc"] <= 1


@pytest.mark.parametrize(
    ("kind", "name"),
    [
        ("signals", "signal"),
        ("signals", "mixup"),
        ("signals", "cutmix"),
        ("vectors", "[vector_views,mixup]"),
        ("images", "[flip,image_views]"),
    ],
)
def test_training_is_augmented(train, kind, name):
    done = train(kind, "transfer=scratch", f"augment={name}", "trainer.max_epochs=1")

    assert done.code == 0, done.err


@pytest.mark.parametrize(
    ("kind", "words", "sentence"),
    [
        ("signals", ("model=contrastive",), "model.views.resized_crop is not for signals, and signals has signals: choose views=signal_views."),
        ("vectors", ("model=vicreg", "views=signal_views"), "model.views.crop is not for vectors, and vectors has vectors: choose views=vector_views."),
        ("images", ("model=contrastive",), "model.views.colour is not for images of floats, and images has images of floats: choose views=image_views."),
        ("signals", ("transfer=scratch", "augment=crop_flip"), "data.augment.crop is not for signals, and signals has signals: choose augment=signal."),
        ("vectors", ("transfer=scratch", "augment=cutmix"), "data.augment.cutmix is not for vectors, and vectors has vectors: choose augment=vector_views."),
        ("digits", ("transfer=scratch", "augment=signal"), "data.augment.crop is not for 8-bit images, and digits has 8-bit images: choose augment=crop_flip."),
        ("signals", ("transfer=finetune", "pretrain=contrastive", "data@pretrain.data=signals"), "pretrain.model.views.resized_crop is not for signals, and signals has signals: choose pretrain.views=signal_views."),
        ("vectors", ("model=ae", "encoder=conv1d"), "This encoder (Conv4) takes images and signals, and data has vectors, (24,): they take encoder=mlp."),
        ("signals", ("model=ae", "encoder.widths=[2,2,2,2,2,2]"), "encoder conv4 halves its input 6 times and takes signals of 64 samples or more, not 40: set data.length, or shorten encoder.widths."),
        ("signals", ("model=vae",), "aetransfer.models.vae.VAE: likelihood=bernoulli is of pixels in [0, 1], and these inputs are floats of any range: set model.likelihood=gaussian (pretrain.model.likelihood=gaussian under a transfer)."),
        ("vectors", ("model=iwae", "model.likelihood=continuous_bernoulli"), "aetransfer.models.iwae.IWAE: likelihood=continuous_bernoulli is of pixels in [0, 1], and these inputs are floats of any range: set model.likelihood=gaussian (pretrain.model.likelihood=gaussian under a transfer)."),
    ],
)  # fmt: skip
def test_what_does_not_fit_is_refused_before_training(train, kind, words, sentence):
    assert_refused(train(kind, *words), sentence)


def test_views_of_the_source_are_chosen_under_a_transfer(train):
    words = ("transfer=finetune", "pretrain=contrastive", "data@pretrain.data=signals", "pretrain.views=signal_views")
    done = train("signals", *words, "pretrain.trainer.max_epochs=1", "trainer.max_epochs=1")

    assert done.code == 0, done.err
