"""Cuts of a data set: disjoint, stratified, nested, and refused where a class has too few images."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from aetransfer.data.examples import Examples
from aetransfer.data.split import cut
from aetransfer.errors import UserError

NAMES = ("cat", "dog", "emu", "fox")

counts_of_classes = st.lists(st.integers(2, 40), min_size=1, max_size=4)
fractions = st.floats(0.01, 0.99)
seeds = st.integers(0, 2**24 - 1)


def of(labels: Tensor, **parts: object) -> Examples:
    """Examples of these classes, of which nothing else matters."""
    return Examples(torch.zeros(len(labels), 1, 1, 1), labels, names=NAMES, **parts)


@st.composite
def labellings(draw: st.DrawFn) -> Tensor:
    """Labels of up to four classes, two to forty of each, in any order."""
    labels = torch.cat([torch.full((count,), label) for label, count in enumerate(draw(counts_of_classes))])
    return labels[torch.randperm(len(labels), generator=torch.Generator().manual_seed(draw(seeds)))]


def cut_(
    labels: Tensor,
    seed: int = 0,
    *,
    val_fraction: float = 0.1,
    labels_per_class: int | None = None,
    train_fraction: float | None = None,
) -> tuple[set[int], set[int]]:
    """Training and validation positions, as sets, for it's membership that matters."""
    train, val = cut(
        of(labels),
        val_fraction=val_fraction,
        labels_per_class=labels_per_class,
        train_fraction=train_fraction,
        seed=seed,
    )
    assert len(set(train.tolist())) == len(train)
    assert len(set(val.tolist())) == len(val)
    return set(train.tolist()), set(val.tolist())


def per_class(labels: Tensor, positions: set[int]) -> list[int]:
    return labels[sorted(positions)].bincount(minlength=int(labels.max()) + 1).tolist()


@given(labellings(), fractions, seeds)
def test_every_image_is_in_train_or_in_validation_and_none_in_both(
    labels: Tensor, val_fraction: float, seed: int
) -> None:
    train, val = cut_(labels, seed, val_fraction=val_fraction)
    assert train.isdisjoint(val)
    assert train | val == set(range(len(labels)))


@given(labellings(), fractions, seeds)
def test_validation_is_its_fraction_of_each_class_to_within_one_image_and_never_all_or_nothing(
    labels: Tensor, val_fraction: float, seed: int
) -> None:
    train, val = cut_(labels, seed, val_fraction=val_fraction)
    for here, there in zip(per_class(labels, val), per_class(labels, train), strict=True):
        assert abs(here - val_fraction * (here + there)) <= 1
        assert min(here, there) >= 1


@given(labellings(), fractions, fractions, seeds)
def test_a_training_fraction_is_that_of_each_class_to_within_one_image_and_leaves_validation_alone(
    labels: Tensor, val_fraction: float, train_fraction: float, seed: int
) -> None:
    everything, val = cut_(labels, seed, val_fraction=val_fraction)
    subset, same_val = cut_(labels, seed, val_fraction=val_fraction, train_fraction=train_fraction)
    assert same_val == val
    assert subset <= everything
    for chosen, available in zip(per_class(labels, subset), per_class(labels, everything), strict=True):
        assert abs(chosen - train_fraction * available) <= 1
        assert chosen >= 1


@given(seeds, st.integers(1, 36), st.integers(1, 36))
def test_subsets_of_one_seed_are_nested_and_have_as_many_labels_of_each_class_as_asked(
    seed: int, fewer: int, more: int
) -> None:
    fewer, more = sorted((fewer, more))
    labels = torch.arange(160) % 4
    small, val = cut_(labels, seed, labels_per_class=fewer)
    large, same_val = cut_(labels, seed, labels_per_class=more)
    assert per_class(labels, small) == [fewer] * 4
    assert per_class(labels, large) == [more] * 4
    assert small <= large
    assert val == same_val
    assert large.isdisjoint(val)


def test_the_10_labels_of_a_seed_are_among_its_100() -> None:
    labels = torch.arange(1000) % 4
    ten, _ = cut_(labels, 7, labels_per_class=10)
    hundred, _ = cut_(labels, 7, labels_per_class=100)
    assert len(ten) == 40
    assert ten < hundred


@given(st.lists(seeds, min_size=2, max_size=2, unique=True))
def test_another_seed_cuts_elsewhere_and_the_same_seed_does_not(pair: list[int]) -> None:
    labels = torch.arange(200) % 4
    first, second = (cut_(labels, seed, labels_per_class=20) for seed in pair)
    assert first[0] != second[0]
    assert first[1] != second[1]
    assert cut_(labels, pair[0], labels_per_class=20) == first


def test_more_labels_than_the_smallest_class_has_are_refused_with_its_name_and_what_it_has() -> None:
    labels = torch.tensor([0] * 50 + [1] * 20 + [2] * 50)
    cut_(labels, labels_per_class=18)
    with pytest.raises(UserError) as caught:
        cut_(labels, labels_per_class=19)
    message = str(caught.value)
    assert "data.labels_per_class=19" in message
    assert "class 'dog' has 18 training images beside 2 for validation" in message


def test_a_class_of_one_image_is_refused_by_name() -> None:
    with pytest.raises(UserError, match=r"Class 'emu' has 1 training image: 2 are needed"):
        cut_(torch.tensor([0, 0, 1, 1, 2]))


@given(labellings(), seeds)
def test_positions_come_in_ascending_order_so_that_reading_them_goes_forward_through_the_file(
    labels: Tensor, seed: int
) -> None:
    for part in cut(of(labels), val_fraction=0.3, labels_per_class=None, train_fraction=0.7, seed=seed):
        assert part.tolist() == sorted(part.tolist())


def test_the_datas_own_validation_takes_the_place_of_a_cut_and_the_rest_is_trained_on() -> None:
    labels, own = torch.arange(40) % 4, torch.arange(30, 40)
    for seed in (0, 1):
        train, val = cut(
            of(labels, validation=own), val_fraction=0.5, labels_per_class=None, train_fraction=None, seed=seed
        )
        assert (train.tolist(), val.tolist()) == (list(range(30)), list(range(30, 40)))
    few, _ = cut(of(labels, validation=own), val_fraction=0.5, labels_per_class=3, train_fraction=None, seed=0)
    assert per_class(labels, set(few.tolist())) == [3] * 4
    assert few.max() < 30


def test_a_class_that_is_in_the_datas_own_validation_alone_is_refused_where_classes_are_learnt() -> None:
    common = {"val_fraction": 0.1, "labels_per_class": None, "train_fraction": None, "seed": 0}
    labels, own = torch.tensor([0, 0, 0, 1]), torch.tensor([2, 3])
    with pytest.raises(UserError, match=r"Class 'dog' has no training image: all that it has are in"):
        cut(of(labels, validation=own), **common)
    train, _ = cut(of(labels, validation=own), **common, every_class=False)
    assert train.tolist() == [0, 1]


@pytest.mark.parametrize(("labels", "sizes"), [([0] * 10 + [1], (10, 1)), ([0, 1, 2, 3], (3, 1)), ([0, 0], (1, 1))])
def test_where_no_classes_are_learnt_a_class_of_one_image_is_trained_on(
    labels: list[int], sizes: tuple[int, int]
) -> None:
    common = {"val_fraction": 0.1, "labels_per_class": None, "train_fraction": None, "seed": 0}
    train, val = cut(of(torch.tensor(labels)), **common, every_class=False)
    assert (len(train), len(val)) == sizes
    assert not {*train.tolist()} & {*val.tolist()}
    if len(labels) == 11:
        assert 10 in train


def test_one_image_is_too_few_for_any_training() -> None:
    with pytest.raises(UserError, match=r"There is 1 training image: 2 are needed"):
        cut(Examples(torch.zeros(1, 1, 1, 1)), val_fraction=0.1, labels_per_class=None, train_fraction=None, seed=0)


def test_what_is_cut_is_called_what_it_is() -> None:
    signals = Examples(torch.zeros(3, 2, 8), torch.tensor([0, 0, 1]), names=("a", "b"))
    with pytest.raises(UserError, match="Class 'b' has 1 training signal: 2 are needed"):
        cut(signals, val_fraction=0.1, labels_per_class=None, train_fraction=None, seed=0)
