"""200 configs of seats of one's own that can't work: every one ends in a sentence, whenever it is noticed."""

import sys
from collections import Counter

import pytest

from tests.integration.conftest import TINY, assert_is_one_sentence, write_config
from tests.security.own_seats import OPTIONS, SEATS, SEATS_OF_CONFIG, broken_seats

__all__ = ["write_config"]

COUNT = 200
SHORT = (*TINY, "transfer=scratch", "trainer.max_epochs=1", "trainer.limit_val_batches=1", "allow=[own_seats]")


@pytest.fixture
def own(tmp_path, monkeypatch, write_config):
    (tmp_path / "own_seats.py").write_text(SEATS)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "own_seats", raising=False)
    return write_config(**OPTIONS)


def command_of(words, own):
    """A pretext is no transfer, and has no arm or head."""
    pretext = any(word.startswith("model=") for word in words)
    left_out = ("transfer=", "data@pretrain", "pretrain.")
    # An encoder of one's own has other keys than the default's.
    encoder = ("encoder.",) if any(word.startswith("encoder=") for word in words) else ()
    arm = ("transfer=",) if any(word.startswith("transfer=") for word in words) else ()
    return [
        *(word for word in SHORT if not word.startswith((*(left_out if pretext else ()), *encoder, *arm))),
        *own,
        *words,
    ]


@pytest.mark.slow
@pytest.mark.parametrize("seat", SEATS_OF_CONFIG, ids=lambda seat: seat.place)
def test_a_sound_class_in_each_seat_is_trained(run_train, own, seat):
    done = run_train(*command_of(seat.words, own))

    assert done.code == 0, done.err


@pytest.mark.slow
@pytest.mark.timeout(1800)  # beside other work
def test_every_one_of_200_broken_seats_ends_in_a_sentence(run_train, own, capfd, tmp_path):
    accepted, badly, kinds = [], [], Counter()
    for number, broken in enumerate(broken_seats(seed=6, count=COUNT)):
        kinds[broken.kind] += 1
        try:
            done = run_train(*command_of(broken.words, own), f"paths.output_dir={tmp_path / str(number)}")
        except Exception as error:
            badly.append((broken, repr(error)))
            continue
        said = "".join(line for line in done.err.splitlines(keepends=True) if line.startswith(("error", "Traceback")))
        if done.code == 0:
            accepted.append(broken)
            continue
        try:
            assert done.code == 1
            assert "Traceback" not in done.err
            assert len(said) < 2000
            assert_is_one_sentence(said)
        except AssertionError:
            badly.append((broken, done.err[-600:]))
    with capfd.disabled():
        for each in [*accepted, *badly]:
            print(each)
        print(f"\n{COUNT - len(accepted) - len(badly)} of {COUNT} broken seats refused, {len(kinds)} kinds")

    assert not accepted
    assert not badly
