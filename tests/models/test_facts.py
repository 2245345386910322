"""What runs say of their models: written down by newer ones, known of the version before, claimed by anybody."""

import json

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from aetransfer.models.base import Pretext
from aetransfer.models.capabilities import Classifies, HasPosterior, Reconstructs, Samples, capabilities_of
from aetransfer.models.facts import ModelFacts, Monitor, Quantity, capabilities_in, facts_of
from aetransfer.networks.conv4 import Conv4
from aetransfer.report.collect import collect_store
from aetransfer.report.files import write_report
from aetransfer.report.run import write_run_page
from aetransfer.report.sweep import content_of
from aetransfer.store.directory import RunDirectory
from tests.report.store import change_result, make_pretraining, make_run
from tests.report.test_report import TODAY, Tags

EARLIER = {"model": {"name": "vae", "kl_weight": 1.0, "free_bits": 0.0, "likelihood": "gaussian"}}


class Contrast(Pretext):
    """Somebody's own pretext."""

    title = "SimCLR"
    metrics = {"alignment": Quantity("alignment of two views", better="higher")}  # noqa: RUF012
    untrained = ("bottleneck",)

    def caveats(self):
        return ["Views are of one image."]

    def step(self, batch):
        return {"loss": batch.inputs.mean((1, 2, 3))}


class Painter(Contrast):
    def reconstruct(self, inputs):
        return inputs

    def decode(self, codes):
        return codes

    def sample(self, count, generator):
        return torch.rand(count, generator=generator)


def made(kind):
    return kind(Conv4(input_shape=(1, 8, 8), latent_dim=4, widths=[4, 8]))


def test_what_a_model_can_do_is_seen_from_what_it_has():
    assert capabilities_of(made(Contrast)) == []
    assert capabilities_of(made(Painter)) == ["reconstruct", "decode", "sample"]


@pytest.mark.parametrize(
    ("protocol", "words"),
    [
        (Reconstructs, ["reconstruct", "decode"]),
        (Samples, ["sample"]),
        (HasPosterior, ["reconstruct", "decode", "posterior"]),
        (Classifies, ["classify"]),
    ],
)
def test_what_is_read_off_a_source_is_what_the_class_itself_can_do(protocol, words):
    assert capabilities_in([name for name in vars(protocol) | vars(protocol.__base__) if name[0] != "_"]) == words


def test_what_a_run_wrote_down_is_read_back_whatever_its_config_says():
    said = made(Painter).facts("mine")

    read = facts_of({"model": json.loads(json.dumps(said.model_dump()))}, EARLIER)

    assert read == said
    assert read.compared == Monitor("val/alignment", "max")
    assert (read.titled, read.words("alignment"), read.untrained) == (
        "a SimCLR",
        "alignment of two views",
        ["bottleneck"],
    )


@pytest.mark.parametrize(
    ("settings", "monitor"),
    [({}, "val/neg_elbo"), ({"kl_weight": 4.0}, "val/loss"), ({"free_bits": 0.1}, "val/loss")],
)
def test_an_earlier_vae_chose_its_epoch_by_the_bound_that_it_trained_for_and_is_compared_by_its_elbo(settings, monitor):
    known = facts_of({}, {"model": EARLIER["model"] | settings})

    assert known.monitor == monitor
    assert known.compared == Monitor("val/neg_elbo", "min")
    assert "under a gaussian likelihood" in known.caveats[1]


@pytest.mark.parametrize(
    "model", [None, "ae", [], {"name": ["ae"]}, {"name": "dae"}, {"_target_": "x.Y", "name": "ae"}]
)
def test_of_a_foreign_model_nothing_is_said(model):
    known = facts_of({}, {"model": model})

    assert known == ModelFacts()
    assert (known.title, known.can, known.compared) == ("model", None, None)


@pytest.mark.parametrize(
    "claim",
    [
        {"title": "x" * 100_000},
        {"metrics": {str(n): {"words": ""} for n in range(1000)}},
        {"metrics": {"acc": {"words": "x" * 10_000}}},
        {"caveats": ["x"] * 1000},
        {"can": 3},
        {"monitor_mode": "up"},
    ],
)
def test_a_claim_beyond_all_bounds_counts_for_none(claim):
    assert facts_of({"model": claim}, EARLIER).title == "variational autoencoder"


WORDS = st.text(max_size=60) | st.sampled_from(
    ["<script>alert(1)</script>", "</h1>", "{{ 7 * 7 }}", "\x1b[2J", "a | b"]
)
CLAIMS = st.fixed_dictionaries(
    {},
    optional={
        "name": WORDS,
        "title": WORDS,
        "summary": WORDS,
        "can": st.lists(WORDS | st.sampled_from(["reconstruct", "classify", "posterior"]), max_size=25) | st.none(),
        "monitor": WORDS | st.sampled_from(["val/acc", "val/mse", "/", "val/"]) | st.none(),
        "monitor_mode": st.sampled_from(["max", "min", "up"]),
        "metrics": st.dictionaries(
            WORDS | st.sampled_from(["acc", "mse"]),
            st.fixed_dictionaries({"words": WORDS}, optional={"better": st.sampled_from(["lower", "higher", None])}),
            max_size=60,
        ),
        "untrained": st.lists(WORDS, max_size=25),
        "caveats": st.lists(WORDS, max_size=25),
    },
)


def test_nothing_that_a_run_claims_of_its_model_is_markup_in_a_report(tmp_path):
    script = "<script>alert(1)</script>"
    claim = {"title": script, "monitor": f"val/{script}", "metrics": {script: {"words": script, "better": "lower"}}}
    for arm in ("scratch", "finetune"):
        make_run(tmp_path, "experiment=quickstart", f"transfer={arm}", metrics={f"test/{script}": 0.5}, model=claim)

    index = write_report(content_of(collect_store(tmp_path / "runs", ["stage=transfer"])), tmp_path / "report", TODAY)

    for path in [index, *(index.parent / "figures").glob("*.svg"), index.parent / "summary.md"]:
        assert "<script" not in path.read_text(), path


@pytest.fixture(scope="module")
def claiming(tmp_path_factory):
    """A pretraining, and a transfer from it, with results that can be changed."""
    store = tmp_path_factory.mktemp("claims")
    transfer = make_run(store, "experiment=quickstart", "transfer=finetune", history=False)
    pretraining = make_pretraining(store, "data=mnist", "model=ae")
    (pretraining / "history.json").unlink()
    return transfer, pretraining


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(claim=CLAIMS | st.recursive(st.none() | st.integers() | WORDS, st.lists, max_leaves=5))
def test_whatever_a_run_claims_of_its_model_its_page_is_escaped_and_bounded(claiming, claim):
    for run in claiming:
        change_result(run, model=claim)

        page = write_run_page(RunDirectory(run)).read_text()

        assert "<script" not in page
        assert Tags(page).open == []
        assert len(page) < 100_000
