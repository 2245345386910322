"""Measures of somebody's own, in the `evaluation` group by names of their own."""

import json
import re
import shutil

import numpy as np
import pytest
import torch

from aetransfer.evaluation.measure import Measure
from aetransfer.evaluation.outcome import Outcome
from tests.integration.conftest import TINY, TINY_PRETRAINING, assert_refused

QUIET = (*TINY_PRETRAINING, "model=ae", "logger=none", "callbacks=none", "trainer.limit_train_batches=2")
MINE = "allow=[tests]"


class Spread(Measure):
    """How far codes are from their mean."""

    needs_memory = ("images",)

    def __init__(self, images: int = 100, power: float = 2.0):
        self.images, self.power = images, power

    def __call__(self, subject):
        subject.open(subject.part)
        batches = subject.data.in_order(subject.part, 50, subject.device, self.images)
        with torch.no_grad():
            codes = torch.cat([subject.encoder(images) for images, _ in batches])
        spread = (codes - codes.mean(0)).abs().pow(self.power).mean().item()
        return Outcome(
            [{"codes | of": "encoder", "spread": spread, "n": len(codes)}],
            facts={"widths": codes.std(0).tolist()},
            notes=["spread: mean power of the distance, latent units <squared>"],
        )


class Posterior(Spread):
    needs = "posterior"
    needs_labels = True


class Given(Measure):
    """Gives what its key says."""

    def __init__(self, what: str):
        self.what = what

    def __call__(self, subject):
        return {
            "number": 3.5,
            "nothing": None,
            "not_a_number": Outcome([{"spread": float("nan")}]),
            "tensor": Outcome([{"spread": torch.tensor(1.0)}]),
            "words": Outcome([{"spread": "wide"}]),
            "empty": Outcome([]),
            "facts": Outcome([{"spread": 1}], facts={"all": np.ones(2)}),
        }[self.what]


class Refuses(Measure):
    def __init__(self, images: int = 1):
        raise ValueError("images can't be compared with themselves")

    def __call__(self, subject):
        raise NotImplementedError


class Unwritten(Measure):
    """Lacks its __call__."""


class NoMeasure:
    pass


def nothing():
    """What a config may call, and is no class."""


def node(name, kind, **keys):
    return (
        f"+evaluation.{name}={{{', '.join([f'_target_: {__name__}.{kind}', *(f'{k}: {v}' for k, v in keys.items())])}}}"
    )


def found(run, name):
    return json.loads((run / "evaluation" / f"{name}.json").read_text())


def test_one_is_taken_at_the_end_of_a_training_and_shown_on_page_and_card(run_train, run_evaluate):
    done = run_train(*QUIET, node("spread", "Spread", images=60), MINE)

    assert done.code == 0, done.err
    written = found(done.run, "spread")
    (row,) = written["rows"]
    assert row["n"] == 60 and row["spread"] > 0
    assert written["settings"] == {"images": 60, "power": 2.0}
    assert written["class"] == f"{__name__}.Spread"
    assert len(written["widths"]) == 8
    assert f"spread of {done.run.name} on digits, test" in done.out
    page, card = ((done.run / name).read_text() for name in ("report.html", "MODEL_CARD.md"))
    assert "spread on digits, test" in page and "latent units &lt;squared&gt;" in page
    assert f"| encoder | {row['spread']:.4g} | 60 |" in card
    assert "latent units &lt;squared&gt;" in card and r"codes \| of" in card

    again = run_evaluate(f"run={done.run}", node("spread", "Spread"), MINE, "evaluation=reconstruction", "split=val")
    assert again.code == 0, again.err
    assert found(done.run, "spread")["rows"] == [row]
    assert found(done.run, "spread-val")["settings"] == {"images": 100, "power": 2.0}
    card = (done.run / "MODEL_CARD.md").read_text()
    assert re.findall("^### (.*)", card, flags=re.M) == [
        *("reconstruction on digits, val", "spread on digits, test", "spread on digits, val")
    ]
    assert card.count("## Measured") == 1 and "## Use the encoder" in card


def test_one_is_taken_of_a_finished_run_and_belongs_to_no_identity(run_train):
    plain = run_train(*QUIET)
    measured = run_train(*QUIET, node("spread", "Spread"), MINE)

    assert measured.run == plain.run and "is finished: its result is used" in measured.out
    assert found(plain.run, "spread")["rows"][0]["n"] == 100


def test_a_file_of_ones_own_names_it(run_train, write_config):
    text = f"spread:\n  _target_: {__name__}.Spread\n  images: 100\n"
    words = write_config(**{"evaluation/mine": text})
    done = run_train(*QUIET, *words, "evaluation=mine", "evaluation.spread.images=70", MINE)

    assert done.code == 0, done.err
    assert found(done.run, "spread")["rows"][0]["n"] == 70
    assert_refused(
        run_train(*QUIET, *words, "evaluation=mine", "evaluation.spread.imags=70", MINE),
        "evaluation.spread.imags is no config key or group (did you mean evaluation.spread.images).",
    )


@pytest.mark.parametrize(
    ("what", "said"),
    [
        ("number", "gives a float: give an aetransfer.evaluation.outcome.Outcome."),
        ("nothing", "gives nothing: give an aetransfer.evaluation.outcome.Outcome."),
        ("not_a_number", "gives NaN as spread: give None where there is no number."),
        ("tensor", "gives a Tensor as spread: give a plain number, a text or None."),
        ("words", "gives rows without a number: measure something."),
        ("empty", "gives rows without a number: measure something."),
        (
            "facts",
            "gives facts that no JSON file holds (Object of type ndarray is not JSON serializable): give plain numbers "
            "and texts.",
        ),
    ],
)
def test_what_no_table_can_hold_is_refused_by_the_class_that_gives_it(finished, run_evaluate, what, said):
    done = run_evaluate(f"run={finished}", node("given", "Given", what=what), MINE)

    assert_refused(done, f"{__name__}.Given {said}")
    assert not (finished / "evaluation" / "given.json").exists()


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        ([node("spread", "Spread")], f"_target_: {__name__}.Spread is outside the packages that the measure of a config may come from (aetransfer.evaluation): if it is yours, add allow=[tests] to the command line."),
        ([node("spread", "Spread", imags=3), MINE], f"{__name__}.Spread takes no imags (did you mean images)."),
        ([node("spread", "Spread", images="many"), MINE], "evaluation.spread.images=many should be a valid integer."),
        ([node("given", "Given"), MINE], f"{__name__}.Given: missing a required argument: 'what'."),
        ([node("mine", "Posterior"), MINE], "evaluation=mine needs a model that gives a posterior, and this run's (ae) does not: leave it out."),
        ([node("my-own", "Spread"), MINE], "evaluation has my-own, which is no name: take letters, digits and _, and a letter first."),
        (["+evaluation.mine={images: 3}"], "evaluation.mine._target_ is missing."),
    ],
)  # fmt: skip
def test_what_is_wrong_with_one_is_read_from_its_source_before_torch_is_there(torchless, words, sentence):
    done = torchless("train", *QUIET, *words)

    assert_refused(done, sentence)
    assert not done.torch


@pytest.mark.parametrize(
    ("kind", "sentence"),
    [
        ("Refuses", f"{__name__}.Refuses: images can't be compared with themselves."),
        ("NoMeasure", f"_target_: {__name__}.NoMeasure is no measure: subclass aetransfer.evaluation.measure.Measure and write its __call__."),
        ("Unwritten", f"_target_: {__name__}.Unwritten is no measure: subclass aetransfer.evaluation.measure.Measure and write its __call__."),
        ("nothing", f"_target_: {__name__}.nothing is no measure: subclass aetransfer.evaluation.measure.Measure and write its __call__."),
    ],
)  # fmt: skip
def test_one_that_can_not_be_built_is_refused_before_anything_is_trained(run_train, tmp_path, kind, sentence):
    done = run_train(*TINY, "transfer=finetune", node("mine", kind), MINE)

    assert_refused(done, sentence)
    assert not list(tmp_path.glob("outputs/runs/*/checkpoints"))


def test_a_run_of_before_measures_had_classes_is_read_and_measured(finished_pretraining, run_evaluate, tmp_path):
    run = tmp_path / "runs" / finished_pretraining.name
    shutil.copytree(finished_pretraining, run)
    config = (run / "config.yaml").read_text()
    old = "evaluation:\n  probes: null\n  reconstruction: {}\n  vae: null\n"
    (run / "config.yaml").write_text(re.sub(r"^evaluation: \{\}\n", old, config, flags=re.M))
    assert "reconstruction: {}" in (run / "config.yaml").read_text()

    assert run_evaluate(f"run={run}", "evaluation=reconstruction").code == 0
