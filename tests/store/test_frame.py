"""aetransfer.runs_frame: the store of runs in a notebook."""

import pytest

import aetransfer
from aetransfer.errors import UserError
from aetransfer.store.listing import export
from aetransfer.store.query import runs_in
from tests.report.store import make_run

pandas = pytest.importorskip("pandas")


@pytest.fixture
def store(tmp_path):
    for arm, accuracy in (("scratch", 0.5), ("finetune", 0.625)):
        make_run(tmp_path, "data=photo_digits", "data@pretrain.data=digits", f"transfer={arm}", acc=accuracy)
    return tmp_path


def test_a_row_for_each_run_holds_its_config_and_its_numbers(store):
    runs = aetransfer.runs_frame(store, "stage=transfer")

    assert dict(zip(runs["transfer.name"], runs["test/acc"], strict=True)) == {"scratch": 0.5, "finetune": 0.625}
    assert runs["encoder.latent_dim"].tolist() == [128, 128]
    assert len(aetransfer.runs_frame(store)) == 3


def test_the_frame_is_the_table_that_the_command_exports(store):
    export(runs_in(store), store / "runs.csv")
    exported, frame = pandas.read_csv(store / "runs.csv"), aetransfer.runs_frame(store)

    assert list(frame.columns) == list(exported.columns)
    assert frame["name"].tolist() == exported["name"].tolist()
    assert frame["test/acc"].dropna().tolist() == exported["test/acc"].dropna().tolist()


def test_the_store_of_the_environment_is_read_where_none_is_named(store, monkeypatch):
    monkeypatch.setenv("AETRANSFER_OUTPUT_DIR", str(store))

    assert aetransfer.runs_frame().equals(aetransfer.runs_frame(store))


def test_a_misspelt_filter_is_answered_with_the_nearest_key(store):
    with pytest.raises(UserError, match="latent_dim"):
        aetransfer.runs_frame(store, "encoder.latentdim=64")
