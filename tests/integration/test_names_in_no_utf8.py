"""Folders whose names are bytes of another encoding than UTF-8, as an archive from an old machine has them."""

import csv
import json
import os

import pytest

from aetransfer import predict
from tests.integration.conftest import assert_refused
from tests.made import write_class_folder

LATIN_1 = os.fsdecode(b"caf\xe9")
SHOWN = "caf\\xe9"


@pytest.fixture
def words(tmp_path):
    for part, count in (("train", 6), ("test", 4)):
        write_class_folder(tmp_path / "images" / part, {LATIN_1: count, "bar": count}, size=16)
    return ("data=image_folder", f"data.root={tmp_path / 'images'}", "data.image_size=16")


@pytest.mark.slow
def test_such_a_class_is_shown_with_its_bytes_in_everything_that_is_written(
    run_train, run_evaluate, command, words, tmp_path
):
    small = ("encoder.widths=[4,8]", "encoder.latent_dim=4", "trainer.max_epochs=1", "transfer=scratch")
    done = run_train(*words, *small)

    assert done.code == 0, done.err
    assert json.loads((done.run / "encoder.json").read_text())["data"]["class_names"] == ["bar", SHOWN]
    assert SHOWN in (done.run / "report.html").read_text() and "could not be drawn" not in done.out
    assert {
        row.partition("\t")[0] for row in (done.run / "projector" / "classes.tsv").read_text().splitlines()[1:]
    } == {"bar", SHOWN}
    measured = run_evaluate(f"run={done.run}", "evaluation=classifier")
    assert (measured.code, SHOWN in measured.out) == (0, True)
    assert run_evaluate(f"run={done.run}").code == 0
    for source in ((f"images={tmp_path / 'images' / 'test'}",), words):
        assert command(predict.main, f"run={done.run}", *source, f"out={tmp_path / 'table.csv'}").code == 0
        with (tmp_path / "table.csv").open(encoding="utf-8") as file:
            rows = list(csv.DictReader(file))
        assert {row["label"] for row in rows} == {"bar", SHOWN} and f"p_{SHOWN}" in rows[0]


def test_data_below_a_folder_of_such_a_name_are_refused_before_a_run_is_made(run_train, words, tmp_path):
    (tmp_path / "images").rename(tmp_path / LATIN_1)
    done = run_train(*words[:1], f"data.root='{tmp_path}/{LATIN_1}'", "data.image_size=16", "transfer=scratch")

    assert_refused(done, f"data.root='{tmp_path}/{SHOWN}' is no UTF-8: rename that file or folder.")
    assert not (tmp_path / "outputs").exists()
