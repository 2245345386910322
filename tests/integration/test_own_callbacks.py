"""A callback of one's own: what it is told of the run, and that one which only looks trains nothing again."""

import pytest

from aetransfer.report.grouping import group_runs
from aetransfer.store.run import read
from tests.integration.conftest import TINY_PRETRAINING, assert_refused

WORDS = (
    *TINY_PRETRAINING,
    "model=ae",
    "trainer.limit_train_batches=3",
    "callbacks=none",
    "logger=none",
    "allow=[tests]",
)
NESTED = "places:[{file:'{run_dir}/seen.txt',text:'{run_name} {monitor} {monitor_mode}'}]"


def test_places_are_filled_in_at_any_depth(run_train):
    done = run_train(*WORDS, f"+callbacks.watcher={{_target_:tests.made.Watcher,{NESTED}}}")

    assert done.code == 0, done.err
    assert (done.run / "seen.txt").read_text() == f"{done.run.name} val/mse min\n" * 2


def test_braces_with_anything_else_are_refused_at_any_depth(run_train):
    done = run_train(*WORDS, "+callbacks.watcher={_target_:tests.made.Watcher,places:[{file:'{run_dri}/seen.txt'}]}")

    assert_refused(done, "tests.made.Watcher: braces may hold run_dir, run_name, monitor, monitor_mode, not 'run_dri'.")


@pytest.mark.parametrize(
    "further",
    [
        "+callbacks.watcher={_target_:tests.made.Watcher,only_looks:true}",
        "+callbacks.rates={_target_:pytorch_lightning.callbacks.LearningRateMonitor}",
    ],
)
def test_one_that_only_looks_trains_nothing_again(run_train, further):
    first = run_train(*WORDS)
    (first.run / "checkpoints" / "last.ckpt").unlink()

    second = run_train(*WORDS, further)

    assert second.run == first.run
    assert f"{first.run.name} is finished: its result is used" in second.out


def test_it_is_built_without_that_word_and_is_no_difference_in_a_report(run_train):
    looks = f"+callbacks.watcher={{_target_:tests.made.Watcher,only_looks:true,{NESTED}}}"
    with_it = run_train(*WORDS, "seed=0", looks)
    without = run_train(*WORDS, "seed=1")

    assert (with_it.run / "seen.txt").is_file()
    columns, groups = group_runs([read(done.run) for done in (with_it, without)])
    assert (columns, len(groups)) == ([], 1)
