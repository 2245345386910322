"""500 broken configs: every one is refused with one sentence and exit code 1, without torch, and none runs."""

from collections import Counter

import pytest

from tests.commands import TorchlessProcess
from tests.integration.conftest import assert_is_one_sentence
from tests.made import write_idx
from tests.security.broken_configs import broken_configs
from tests.security.wrong_values import BASES

COUNT = 500


@pytest.mark.slow
@pytest.mark.timeout(1800)  # beside other work; three minutes on two cores of their own
def test_every_one_of_500_broken_configs_is_refused_with_one_sentence(tmp_path, capsys):
    accepted, badly, kinds = [], [], Counter()
    # What is right is looked for in the store, by its data.
    for name in ("MNIST", "FashionMNIST"):
        write_idx(tmp_path / "data" / name / "raw")
    for name in ("cifar-10-batches-py", "cifar-100-python"):
        (tmp_path / "data" / name).mkdir()
        (tmp_path / "data" / name / "batch").write_bytes(b"")
    with TorchlessProcess(tmp_path) as command:
        for base in BASES:
            # A process without torch gets as far as training where nothing is wrong.
            assert command("train", *base).trains, base
        for broken in broken_configs(seed=4, count=COUNT, folder=tmp_path / "configs"):
            done = command("train", *broken.words)
            kinds[broken.kind] += 1
            if done.code == 0 or done.trains:
                accepted.append(broken)
                continue
            try:
                assert done.code == 1
                assert not done.torch
                assert len(done.err) < 2000
                assert_is_one_sentence(done.err)
            except AssertionError:
                badly.append((broken, done.err[-400:]))
    with capsys.disabled():
        print(f"\n{COUNT - len(accepted) - len(badly)} of {COUNT} broken configs refused, {len(kinds)} kinds")

    assert not accepted
    assert not badly
    assert not (tmp_path / "outputs" / "runs").exists()
