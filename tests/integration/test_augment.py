"""data.augment on the command line, in files of before, and by classes of somebody's own or a library."""

import logging
from functools import partial

import pytest

from aetransfer.config.compose import checked, composed
from aetransfer.config.schema import Job
from aetransfer.store.identity import config_digest
from aetransfer.training.build import make_data
from aetransfer.transfer.resolve import resolve
from tests.integration.conftest import TINY, TINY_PRETRAINING, assert_refused, job_of

SCRATCH = (*TINY, "transfer=scratch", "trainer.max_epochs=1", "trainer.limit_train_batches=2")
SPECKLE = ("+data.augment.noise._target_=tests.made.Speckle", "allow=[tests]")


def names_of(job):
    return [name for name, node in job.data.augment.items() if node is not None]


@pytest.mark.parametrize(
    ("words", "names"),
    [
        (["data=cifar10"], ["crop", "flip"]),
        (["data=cifar10", "augment=flip"], ["flip"]),
        (["data=cifar10", "augment=none"], []),
        (["data=cifar10", "data.augment=null"], []),
        (["data=cifar10", "data.augment.crop=null"], ["flip"]),
        (["data=digits", "augment=[strong,mixup]"], ["crop", "flip", "colour", "erasing", "mixup"]),
        (["data=digits", "augment=simclr", "+data.augment.blur._target_=aetransfer.data.augmentation.Blur"],
         ["resized_crop", "flip", "colour", "grey", "blur"]),
        (["data=cifar10", "debug=overfit", "augment=strong"], []),
    ],
)  # fmt: skip
def test_a_list_is_chosen_put_together_and_cut(words, names):
    assert names_of(job_of("transfer=scratch", *words)) == names


def test_the_source_has_a_list_of_its_own():
    job = job_of("data=cifar10", "data@pretrain.data=cifar100", "pretrain.augment=simclr")

    assert names_of(job) == ["crop", "flip"]
    assert names_of(job.pretrain) == ["resized_crop", "flip", "colour", "grey"]


def resolved(words, config_dir=None):
    return resolve(checked(composed("train", words, config_dir), Job), words)


@pytest.mark.parametrize(
    ("written", "now"),
    [
        ("{crop_padding: 2, flip: true}", "[shift,flip]"),
        ("{crop_padding: 0, flip: true}", "flip"),
        ("{crop_padding: 4, flip: false}", "[crop_flip]"),
        ("{flip: false}", "none"),
    ],
)
@pytest.mark.parametrize("data", ["digits", "cifar10"])
def test_a_file_of_before_means_the_same_over_any_list(write_config, written, now, data):
    if data == "cifar10" and "crop_padding" not in written:
        now = "crop_flip"
    _, folder = write_config(**{"experiment/mine": f"# @package _global_\ndata: {{augment: {written}}}\n"})
    words = [f"data={data}", "transfer=scratch"]
    without_flip = ["data.augment.flip=null"] if "flip: false" in written and now != "none" else []

    before = resolved([*words, "experiment=mine"], folder)

    assert config_digest(before) == config_digest(resolved([*words, f"augment@data.augment={now}", *without_flip]))


# As the version before gave them.
DIGESTS = {"cifar10": "5e380838a7", "photo_digits": "13a35b74b6", "digits": "b671f8f6f3"}


@pytest.mark.parametrize("data", DIGESTS)
def test_the_digest_of_crops_and_flips_is_that_of_before(data):
    assert config_digest(job_of(f"data={data}", "model=ae")) == DIGESTS[data]


def test_the_order_decides_and_names_do_not():
    blur, grey = ("_target_:aetransfer.data.augmentation.Blur", "_target_:aetransfer.data.augmentation.Grey")
    one, other, named = (
        config_digest(job_of("data=digits", "model=ae", f"+data.augment={{{words}}}"))
        for words in (
            f"a:{{{blur}}},b:{{{grey}}}",
            f"a:{{{grey}}},b:{{{blur}}}",
            f"c:{{{blur}}},d:{{{grey}}}",
        )
    )

    assert one != other and one == named


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (("model=ae", "augment=mixup"), "data.augment.mixup mixes the targets of examples, and the pretext ae has none: leave it out."),
        (("transfer=scratch", "augment=[mixup,flip]"), "data.augment.mixup mixes examples, which comes last and once: put it behind flip."),
        (("transfer=scratch", "augment=[mixup,cutmix]"), "data.augment.mixup mixes examples, which comes last and once: put it behind cutmix."),
        (("model=contrastive", "augment@model.views=mixup"), "model.views.mixup mixes examples, and a view is of one: leave it out."),
        (("transfer=scratch", "+data.augment.x._target_=os.system"), "_target_: os.system is outside the packages that the augmentation of a config may come from (aetransfer.data.augmentation, aetransfer.data.float_augmentation, aetransfer.data.mixing): if it is yours, add allow=[os] to the command line."),
        (("transfer=scratch", "+data.augment.x._target_=aetransfer.data.augmentation.Blurr"), "_target_: aetransfer.data.augmentation has no Blurr (did you mean Blur)."),
        (("transfer=scratch", "augment=flip", "data.augment.flip.share=half"), "data.augment.flip.share=half should be a valid number."),
        (("transfer=scratch", "augment=mixup", "data.augment.mixup.alpha=0"), "data.augment.mixup.alpha=0 should be greater than 0."),
    ],
)  # fmt: skip
def test_what_can_not_be_is_refused_before_torch_is_imported(torchless, words, sentence):
    done = torchless("train", "data=digits", *words)

    assert_refused(done, sentence)
    assert not done.torch


def test_a_task_that_does_not_say_that_it_mixes_is_refused_by_its_source(run_train):
    words = ("data=digits", "transfer=scratch", "model._target_=tests.made.Unmixed", "allow=[tests]", "augment=mixup")
    assert_refused(
        run_train(*words),
        "data.augment.mixup mixes the targets of examples, and model=classifier does not say that it learns from such: "
        "leave it out, or let its loss be batch.over_targets and set mixes = True.",
    )


def test_a_transform_of_ones_own_trains_and_changes_what_is_learnt(run_train):
    plain = run_train(*SCRATCH)
    own = run_train(*SCRATCH, "+data.augment.gamma={_target_:tests.made.Gamma,most:3}", "allow=[tests]")

    assert own.code == 0, own.err
    assert own.result["metrics"] != plain.result["metrics"]


def test_one_that_gives_nan_is_named(run_train):
    done = run_train(*SCRATCH, "+data.augment.broken._target_=tests.made.Broken", "allow=[tests]")

    assert_refused(done, "tests.made.Broken gives NaN or infinite values for finite inputs: correct it.")


def test_a_run_is_evaluated_without_the_library_that_augmented_it(run_train, run_evaluate):
    done = run_train(*SCRATCH, *SPECKLE)
    assert done.code == 0, done.err

    evaluated = run_evaluate(f"run={done.run}")

    assert evaluated.code == 0, evaluated.err
    assert f"test/acc            {done.result['metrics']['test/acc']!r}" in evaluated.out


def test_views_of_a_model_may_be_a_librarys(run_train):
    words = (
        *TINY_PRETRAINING,
        "model=contrastive",
        "trainer.max_epochs=1",
        "trainer.limit_train_batches=2",
        "logger=none",
    )
    done = run_train(*words, "+model.views.noise._target_=tests.made.Speckle", "allow=[tests]")

    assert done.code == 0, done.err


def test_several_processes_are_told_that_a_librarys_transform_draws_otherwise(caplog):
    make = partial(job_of, "data=digits", "transfer=scratch")
    for job, said in ((make(*SPECKLE), 1), (make("augment=[strong,mixup]"), 0)):
        caplog.clear()
        with caplog.at_level(logging.WARNING):
            data = make_data(job.data, job.seed, job.allow)
            data.check_processes(1)
            assert not caplog.messages
            data.check_processes(2)
        assert len(caplog.messages) == said
