"""Groups, folds and test parts: no cut of any kind has one group in two parts, and none follows the seed that should not."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from aetransfer.data.augmented import Augment
from aetransfer.data.examples import Examples
from aetransfer.data.module import DataModule
from aetransfer.data.split import cut, cut_test, fold_of
from aetransfer.errors import UserError

NAMES = ("cat", "dog", "emu", "fox")
ALL = {"val_fraction": 0.2, "labels_per_class": None, "train_fraction": None}

fractions = st.floats(0.01, 0.99)
seeds = st.integers(0, 2**24 - 1)


def of(groups: Tensor, targets: Tensor | None = None, **parts: object) -> Examples:
    names = NAMES if targets is not None and targets.dtype == torch.int64 else ()
    return Examples(torch.zeros(len(groups), 1), targets, groups, names, "subject", **parts)


@st.composite
def grouped(draw: st.DrawFn, most: int = 12, fewest: int = 2) -> Examples:
    """Examples of a few groups of any sizes, in any order, with classes, values, many labels or nothing to learn."""
    sizes = draw(st.lists(st.integers(1, 9), min_size=fewest, max_size=most))
    generator = torch.Generator().manual_seed(draw(seeds))
    groups = torch.cat([torch.full((size,), 7 * number) for number, size in enumerate(sizes)])
    groups = groups[torch.randperm(len(groups), generator=generator)]
    kind = draw(st.sampled_from(["classes", "pure", "values", "labels", "none"]))
    targets = {
        "classes": torch.randint(4, (len(groups),), generator=generator),
        "pure": groups // 7 % 4,
        "values": torch.randn(len(groups), 2, generator=generator),
        "labels": torch.rand(len(groups), 3, generator=generator) > 0.5,
        "none": None,
    }[kind]
    return of(groups, targets)


def assert_apart(examples: Examples, *parts: Tensor) -> None:
    """No example is in two of the parts, and no group."""
    assert len(torch.cat(parts).unique()) == sum(map(len, parts))
    groups = [set(examples.groups[part].tolist()) for part in parts]
    assert len(set.union(*groups)) == sum(map(len, groups))


@given(grouped(), fractions, fractions, seeds)
def test_validation_and_subsets_never_share_a_group(
    examples: Examples, val_fraction: float, train_fraction: float, seed: int
) -> None:
    common = {"val_fraction": val_fraction, "labels_per_class": None, "seed": seed, "every_class": False}

    train, val = cut(examples, train_fraction=None, **common)
    subset, same = cut(examples, train_fraction=train_fraction, **common)
    smaller, _ = cut(examples, train_fraction=train_fraction / 2, **common)

    assert_apart(examples, train, val)
    assert len(train) and len(val) and len(train) + len(val) == len(examples)
    assert torch.equal(val, same)
    assert set(smaller.tolist()) <= set(subset.tolist()) <= set(train.tolist())
    assert_apart(examples, subset, train[~torch.isin(train, subset)])


@given(grouped(fewest=6), fractions, st.integers(2, 3), seeds)
def test_test_part_folds_and_validation_never_share_a_group(
    examples: Examples, fraction: float, folds: int, seed: int
) -> None:
    rest, test = cut_test(examples, fraction / 3)
    numbers = fold_of(examples, folds, among=rest)
    assert_apart(examples, rest, test)
    assert numbers[test].unique().tolist() == [-1]
    for fold in range(folds):
        held, others = (numbers == fold).nonzero().squeeze(1), (numbers >= 0).logical_and(numbers != fold)
        if len(examples.groups[others].unique()) > 1:
            train, val = cut(examples, **ALL, seed=seed, every_class=False, among=others.nonzero().squeeze(1))
            assert_apart(examples, train, val, test, held)
            assert len(train) + len(val) + len(test) + len(held) == len(examples)


@given(st.integers(2, 9), st.integers(2, 6), st.floats(0.1, 0.5), seeds)
def test_a_fraction_counts_groups_and_each_class_is_in_both_parts(
    of_class: int, size: int, fraction: float, seed: int
) -> None:
    """Each group is of one class, as a recording of one machine's state is: a class gives one at least."""
    groups = torch.arange(4 * of_class).repeat_interleave(size)
    examples = of(groups, groups % 4)

    train, val = cut(examples, val_fraction=fraction, labels_per_class=None, train_fraction=None, seed=seed)

    of_val = (groups[val].unique() % 4).bincount(minlength=4)
    assert of_val.sum() == min(max(4, round(4 * of_class * fraction)), 4 * of_class - 4)
    assert of_val.max() - of_val.min() <= 1
    assert len(examples.targets[train].unique()) == 4


def test_subjects_that_do_everything_are_drawn_at_random_and_as_many_as_asked() -> None:
    """Ten subjects do all four exercises, each as often: another seed validates by others."""
    groups = torch.arange(10).repeat_interleave(8)
    examples = of(groups, torch.arange(80) % 4)
    drawn = {tuple(groups[cut(examples, **ALL, seed=seed)[1]].unique().tolist()) for seed in range(20)}

    assert all(len(subjects) == 2 for subjects in drawn)
    assert len(drawn) > 10


def test_folds_and_a_test_part_are_stratified_and_the_same_whatever_is_asked_before() -> None:
    groups = torch.arange(20).repeat_interleave(3)
    examples = of(groups, groups % 2)
    numbers = fold_of(examples, 5)

    assert torch.equal(numbers, fold_of(examples, 5))
    assert [groups[numbers == fold].unique().numel() for fold in range(5)] == [4] * 5
    assert [(groups[numbers == fold].unique() % 2).sum().item() for fold in range(5)] == [2] * 5
    assert torch.equal(cut_test(examples, 0.2)[1], cut_test(examples, 0.2)[1])
    alone = Examples(examples.inputs, examples.targets, names=NAMES)
    assert fold_of(alone, 4).bincount().tolist() == [15] * 4
    assert examples.targets[cut_test(alone, 0.2)[1]].bincount().tolist() == [6, 6]


def test_the_folds_of_a_source_are_those_of_its_target_where_they_share_groups_or_examples() -> None:
    """A pretraining's inputs are of the same subjects, or the same without what is to be learnt."""
    one, other = torch.arange(10).repeat_interleave(12), torch.arange(10).repeat_interleave(5)
    target, source = of(one, torch.arange(120) % 4), of(other)
    for fold in range(5):
        held_out = [data.groups[fold_of(data, 5) == fold].unique() for data in (target, source)]
        assert torch.equal(*held_out) and len(held_out[0]) == 2

    settings = {"pad": 0, "batch_size": 4, "epoch_images": None, "augment": Augment(), "max_memory_gb": 1.0} | ALL
    modules = []
    for labels in (None, "none"):
        read = Examples(torch.randn(40, 3), torch.arange(40) % 4, names=NAMES)
        module = DataModule(
            lambda split, read=read: read, shape=(3,), workers=1, seed=0, folds=4, fold=1, labels=labels, **settings
        )
        module.setup("test")
        modules.append(module)
    assert torch.equal(*(module._positions["test"] for module in modules))


def test_folds_leave_the_datas_own_validation_alone() -> None:
    groups = torch.arange(10).repeat_interleave(2)
    examples = of(groups, validation=torch.tensor([0, 1]))
    numbers = fold_of(examples, 3)
    others = (numbers != 0).nonzero().squeeze(1)

    assert numbers[:2].tolist() == [-1, -1] and numbers[2:].min() == 0
    train, val = cut(examples, **ALL, seed=0, among=others)
    assert val.tolist() == [0, 1] and not set(train.tolist()) & {0, 1}


PAIRS = torch.arange(6).repeat_interleave(2)


@pytest.mark.parametrize(
    ("ask", "said"),
    [
        (lambda: fold_of(of(PAIRS), 7), r"There are 6 groups \(subject\) to train on, fewer than data.folds=7: lower"),
        (lambda: fold_of(Examples(torch.zeros(3, 1)), 4), "There are 3 examples to train on, fewer than data.folds=4"),
        (
            lambda: cut(of(PAIRS, (PAIRS == 0).long()), **ALL, seed=0),
            r"Class 'dog' is in 1 group \(subject\) of those to train on, and groups are not cut apart: 2 are needed",
        ),
        (
            lambda: cut(of(PAIRS, (PAIRS == 0).long()), **ALL, seed=0, among=torch.arange(2, 12)),
            r"Class 'dog' is in no group \(subject\) of those to train on",
        ),
        (lambda: cut(of(PAIRS[:2]), **ALL, seed=0), r"The examples are of 1 group \(subject\), which is not cut apart"),
        (lambda: cut_test(of(PAIRS[:2]), 0.5), r"The examples are of 1 group \(subject\)"),
        (
            lambda: cut(of(PAIRS, PAIRS % 2), **ALL | {"labels_per_class": 2}, seed=0),
            r"data.labels_per_class=2 counts examples, .* \(subject\), .* take data.train_fraction, which counts groups",
        ),
        (
            lambda: cut(of(PAIRS, validation=torch.tensor([1, 2])), **ALL, seed=0),
            r"2 groups are in training and in the data's own validation \(subject\), of 6 and 2",
        ),
        (
            # Three subjects have two of three classes each: who validates by all leaves too little.
            lambda: cut(of(PAIRS[:6], torch.tensor([0, 1, 0, 2, 1, 2])), **ALL, seed=0),
            r"No choice of whole groups \(subject\) has been found that leaves each class",
        ),
    ],
)
def test_what_whole_groups_cannot_give_is_refused(ask: object, said: str) -> None:
    with pytest.raises(UserError, match=said):
        ask()


def test_where_no_classes_are_learnt_a_class_of_one_group_is_trained_on() -> None:
    examples = of(PAIRS, (PAIRS == 0).long())
    for seed in range(5):
        train, _ = cut(examples, **ALL, seed=seed, every_class=False)
        assert {0, 1} <= set(train.tolist())
    each_its_own = of(torch.arange(4), torch.arange(4))
    assert len(cut(each_its_own, **ALL, seed=0, every_class=False)[1]) == 1


def module_of(train: Examples, test: Examples | None = None, **settings: object) -> DataModule:
    splits = {"train": train, "test": test}
    return DataModule(
        lambda split: splits[split], shape=None, pad=0, batch_size=8, **ALL | {"epoch_images": None, "augment": Augment()},
        max_memory_gb=1.0, workers=1, seed=0, **settings,
    )  # fmt: skip


def machines(count: int, first: int = 0, **parts: object) -> Examples:
    groups = torch.arange(first, first + count).repeat_interleave(4)
    return of(groups, torch.arange(len(groups)) % 2, **parts)


def test_a_fold_is_tested_on_in_place_of_the_test_split_which_stays_unread() -> None:
    data = module_of(machines(10, has_test=False), folds=5, fold=2)
    alone = module_of(machines(10), folds=5, fold=2)
    data.setup("fit")
    alone.setup("test")

    assert [data.count(part) for part in ("train", "val", "test")] == [24, 8, 8]
    assert torch.equal(data.inputs_at("test", torch.arange(8)), alone.inputs_at("test", torch.arange(8)))
    account = data.account()
    assert account["tested_on"] == "fold 2 of 5"
    assert account["groups"] == {"train": 6, "val": 2, "test": 2, "called": "subject"}
    assert account["used"] == (
        "Used: 24 train, 8 val, 8 test vectors of 4 classes; in whole groups (subject), 6 train, 2 val, 2 test; "
        "tested on fold 2 of 5."
    )


def test_the_test_part_that_is_cut_out_is_the_same_for_every_seed() -> None:
    data = module_of(machines(10, has_test=False), test_fraction=0.3)
    data.setup("fit")
    data.setup("test")

    assert data.has_test and data.count("test") == 12
    assert [targets.bincount().tolist() for _, targets in data.in_order("test", 99, torch.device("cpu"))] == [[6, 6]]
    with pytest.raises(UserError, match=r"data.test_fraction=0.3 cuts a test part out of data that have none, and"):
        module_of(machines(10), test_fraction=0.3).setup("fit")


def test_a_group_in_the_training_and_the_test_split_is_refused_before_any_training() -> None:
    with pytest.raises(UserError, match=r"2 groups are in the training split and in the test split \(subject\), of 10"):
        module_of(machines(10), machines(5, first=8)).setup("fit")
    data = module_of(machines(10), machines(5, first=10))
    data.setup("fit")
    assert data.account()["groups"] == {"train": 8, "val": 2, "test": 5, "called": "subject"}
