"""Rank correlations of transferability scores with what was reached."""

import json
from types import SimpleNamespace

import pytest

from aetransfer.report.tables import rank_correlations
from tests.report.store import ACCURACY


def groups(folder, arm, pairs):
    """One run for each (score, accuracy)."""
    found = []
    for number, (score, accuracy) in enumerate(pairs):
        path = folder / f"{arm}{number}"
        (path / "evaluation").mkdir(parents=True)
        if score is not None:
            content = {"bottleneck": {"logme": score, "h_score": -score}}
            (path / "evaluation" / "transferability.json").write_text(json.dumps(content))
        run = SimpleNamespace(directory=SimpleNamespace(path=path), tested={"test/acc": accuracy})
        found.append(SimpleNamespace(arm=arm, runs=[run]))
    return found


def test_a_score_that_ranks_as_training_does_correlates_with_it(tmp_path):
    table = rank_correlations(groups(tmp_path, "frozen", [(1.0, 0.2), (5.0, 0.3), (2.0, 0.25), (9.0, 0.7)]), ACCURACY)

    assert table.rows == [
        ["frozen", "logme", "+1.00", "+1.00", "4"],
        ["frozen", "h_score", "-1.00", "-1.00", "4"],
    ]


def test_a_mistake_among_the_best_weighs_more_than_one_among_the_worst(tmp_path):
    best_wrong = rank_correlations(groups(tmp_path, "a", [(1, 0.1), (2, 0.2), (3, 0.4), (4, 0.3)]), ACCURACY)
    worst_wrong = rank_correlations(groups(tmp_path, "b", [(1, 0.2), (2, 0.1), (3, 0.3), (4, 0.4)]), ACCURACY)

    assert best_wrong.rows[0][2] == worst_wrong.rows[0][2] == "+0.80"
    assert float(best_wrong.rows[0][3]) < float(worst_wrong.rows[0][3])


def test_arms_are_apart_and_too_few_runs_say_nothing(tmp_path):
    runs = [
        *groups(tmp_path, "frozen", [(1, 0.1), (2, 0.2)]),
        *groups(tmp_path, "finetune", [(1, 0.1), (2, 0.2), (3, 0.3)]),
    ]
    table = rank_correlations([*runs, *groups(tmp_path, "scratch", [(None, 0.5)])], ACCURACY)

    assert {row[0] for row in table.rows} == {"finetune"}
    assert rank_correlations(groups(tmp_path, "other", [(None, 0.1)] * 4), ACCURACY) is None


@pytest.mark.parametrize(
    "content",
    ["{", "[]", '{"rows": []}', '{"bottleneck": 3}', '{"bottleneck": {"logme": [1]}}', "[" * 100_000, b"\xff\xfe"],
    ids=["cut off", "a list", "other keys", "a number", "a list of scores", "nested", "no text"],
)
def test_a_damaged_file_is_named_and_left_out_and_the_other_runs_are_ranked(tmp_path, caplog, content):
    runs = groups(tmp_path, "frozen", [(1.0, 0.2), (2.0, 0.3), (3.0, 0.4), (4.0, 0.1)])
    damaged = tmp_path / "frozen3" / "evaluation" / "transferability.json"
    damaged.write_bytes(content if isinstance(content, bytes) else content.encode())

    table = rank_correlations(runs, ACCURACY)

    assert table.rows[0] == ["frozen", "logme", "+1.00", "+1.00", "3"]
    assert f"{damaged} is damaged" in caplog.text


@pytest.mark.parametrize("word", ["nan", "inf", "-inf"])
def test_a_score_that_was_no_number_is_left_out_and_those_beside_it_count(tmp_path, caplog, word):
    runs = groups(tmp_path, "frozen", [(1.0, 0.2), (2.0, 0.3), (3.0, 0.4), (4.0, 0.5)])
    written = tmp_path / "frozen0" / "evaluation" / "transferability.json"
    written.write_text(json.dumps({"bottleneck": {"logme": word, "h_score": -1.0}}))

    table = rank_correlations(runs, ACCURACY)

    assert [row[1:] for row in table.rows] == [["h_score", "-1.00", "-1.00", "4"], ["logme", "+1.00", "+1.00", "3"]]
    assert "logme is no number" in caplog.text


def test_scores_that_are_all_the_same_rank_nothing(tmp_path):
    table = rank_correlations(groups(tmp_path, "frozen", [(1, 0.1), (1, 0.2), (1, 0.3)]), ACCURACY)

    assert table.rows[0][2:4] == ["–", "–"]
