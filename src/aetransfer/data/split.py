"""Seeded cuts of a data set: test, folds and validation out of train, and nested subsets of what remains.

Classes are stratified; values and many labels are cut at random. Everything follows from one shuffled order per class.
Validation takes its head, a subset of n labels per class the n that come next: so subsets of one seed are nested, and
no subset ever meets the validation split. Groups of examples that belong together, such as the recordings of one
patient, are never cut apart: they are ordered likewise.
"""

import warnings
from collections import deque
from collections.abc import Collection, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from aetransfer.config.shapes import one_of
from aetransfer.data.examples import Examples
from aetransfer.errors import UserError

# Of what is the same for every seed of a run: a test part that is cut out, and the folds.
FIXED_SEED = 0
# Shuffled orders that are tried for one by which each class is in both parts.
TRIES = 20


def check_apart(one: Tensor, other: Tensor, called: str, first: str, second: str) -> None:
    """Raise UserError where two parts share groups. one, other: (N,) and (M,) int64, the groups of their examples."""
    shared = np.intersect1d(one.numpy(), other.numpy())
    if len(shared):
        groups = f"{len(shared):,} {'group is' if len(shared) == 1 else 'groups are'}"
        raise UserError(
            f"{groups} in {first} and in {second} ({called}), of {len(one.unique()):,} and {len(other.unique()):,}: "
            "what is learnt of a group would be tested on the same. Keep each in one part, or leave data.groups out."
        )


def order_of_groups(
    groups: Tensor,
    labels: Tensor,
    seed: int,
    *,
    class_names: Sequence[str] = (),
    needed: Collection[str] = (),
    leaves: bool,
    called: str = "group",
) -> tuple[Tensor, int]:
    """Order groups so that each head of the order has the classes about as often as all groups have them.

    groups, labels: (N,) int64, of each example. needed: names of the classes that must be in the head, and with
    `leaves` in what it leaves as well. leaves: whether each class of the head stays in the groups behind it; a group
    that has the last of a class is then not in the order. called: what a group is, in a word.

    Each group counts once, with the shares of its classes. First come groups that bring a class, the rarest before
    others, then at each step one of the class that is furthest behind (the rule of iterative stratification,
    Sechidis et al. 2011, "On the Stratification of Multi-Label Data", for whole groups). Returns the groups' numbers
    (G,) int64, and how many of them it takes to have each class. Raises UserError where there are too few groups.
    """
    numbers, shares = _shares(groups, labels)
    if leaves and len(numbers) < 2:
        raise UserError(
            f"The examples are of {len(numbers)} group ({called}), which is not cut apart: 2 are needed, one to "
            "validate or to test by."
        )
    holders = (shares > 0).sum(0)
    for name in needed:
        place = class_names.index(name)
        has = int(holders[place]) if place < len(holders) else 0
        if has < (2 if leaves else 1):
            where = "in no group" if not has else "in 1 group"
            raise UserError(
                f"Class {name!r} is {where} ({called}) of those to train on, and groups are not cut apart: "
                f"{'2 are needed, one for validation' if leaves else '1 is needed'}."
            )
    must = {class_names.index(name) for name in needed}
    for attempt in range(TRIES):
        order, covering, without = _ordered(shares, np.random.default_rng([seed, attempt]), leaves)
        if not must & without and order:
            return torch.from_numpy(numbers[order]), covering
        if not must:  # each group is a class of its own: they are cut as if they had none
            return order_of_groups(groups, torch.zeros_like(labels), seed, leaves=leaves)
    lacking = class_names[min(must & without)]
    raise UserError(
        f"No choice of whole groups ({called}) has been found that leaves each class to train on and to validate by, "
        f"such as {lacking!r}: give a validation split of your own, or leave out classes that few groups have."
    )


def _shares(groups: Tensor, labels: Tensor) -> tuple[np.ndarray, np.ndarray]:
    """Return the groups' numbers (G,) and the shares of each class in each group (G, K), a row's sum being 1."""
    numbers, places = np.unique(groups.numpy(), return_inverse=True)
    counts = np.zeros((len(numbers), int(labels.max()) + 1))
    np.add.at(counts, (places, labels.numpy()), 1)
    return numbers, counts / counts.sum(1, keepdims=True)


def _ordered(shares: np.ndarray, rng: np.random.Generator, leaves: bool) -> tuple[list[int], int, set[int]]:
    """Order groups as `order_of_groups` says. Returns their places, how many cover, and the classes not covered."""
    shuffled, overall = rng.permutation(len(shares)), shares.mean(0)
    has, holders = shares > 0, (shares > 0).sum(0)
    left, brought, order = holders.copy(), np.zeros(shares.shape[1]), []
    taken: set[int] = set()

    def take(queue: deque[int]) -> bool:
        while queue:
            group = queue.popleft()
            # Fewer hold a class from step to step: who may not go now may never.
            if group not in taken and not (leaves and (left[has[group]] < 2).any()):
                taken.add(group)
                order.append(group)
                left[has[group]] -= 1
                brought[:] += shares[group]
                return True
        return False

    def queue_of(wanted: np.ndarray) -> deque[int]:
        return deque(int(group) for group in shuffled if wanted[group])

    for label in np.argsort(holders, kind="stable"):
        if holders[label] and not brought[label]:
            take(queue_of(has[:, label]))
    covering, without = len(order), {int(label) for label in np.flatnonzero((holders > 0) & (brought == 0))}
    # Of a class that is behind, what is left has more than its share in the mean, so that some group has.
    queues = [queue_of(shares[:, label] >= overall[label] - 1e-12) for label in range(shares.shape[1])]
    anyone = queue_of(np.ones(len(shares), dtype=bool))
    while take(queues[int(np.argmax(len(order) * overall - brought))]) or take(anyone):
        pass
    return order, covering, without


def stratified_order(labels: Tensor, seed: int) -> list[Tensor]:
    """Shuffle the positions of each class. labels: (N,) int64. Returns a (n_class,) int64 tensor per class present."""
    rng = np.random.default_rng(seed)
    array = labels.numpy()
    return [torch.from_numpy(rng.permutation(np.flatnonzero(array == label))) for label in np.unique(array)]


def share_of(fraction: float, count: int) -> int:
    """Return how many of a class's images are set aside: the rounded share, but one at least, and not all."""
    return min(max(1, round(fraction * count)), count - 1)


def more_than_asked(given: int, fraction: float, count: int) -> str:
    """Say why far more, or less, than a fraction of all images was set aside; empty where it is about that fraction."""
    asked = fraction * count
    if abs(given - asked) <= max(1.0, 0.1 * asked):
        return ""
    return f"{fraction:.0%} would be {asked:.0f}, but each class gives a whole number of images, and one at least"


def cut(
    examples: Examples,
    *,
    val_fraction: float,
    labels_per_class: int | None,
    train_fraction: float | None,
    seed: int,
    every_class: bool = True,
    among: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    """Cut training examples into positions for training and for validation, each sorted.

    Each class gives round(val_fraction * n) examples to validation, but at least one, and keeps at least one. Of the
    rest, `labels_per_class` (or round(train_fraction * rest), at least one) are used for training, all where neither
    is given. The data's own validation examples are used in place of such a cut. Of examples with groups, both
    fractions count groups, of which as many more are taken as it needs to have each class. every_class: whether each
    class must be in both parts; else a class of one example, or group, stays in training. among: positions (M,) of the
    examples that may be used at all; None for all.

    Raises UserError for a class with too few examples or groups, and for groups that the data's own validation cuts.
    """
    usable = _mask(among, len(examples), default=True)
    own = None if examples.validation is None else _mask(examples.validation, len(examples), default=False)
    every_class = every_class and examples.learnt.kind == "classes"
    if examples.groups is None:
        return _cut_classes(examples, usable, own, val_fraction, labels_per_class, train_fraction, seed, every_class)
    if labels_per_class is not None:
        raise UserError(
            f"data.labels_per_class={labels_per_class} counts examples, and these come in groups "
            f"({examples.grouped_by}), which are kept whole: take data.train_fraction, which counts groups."
        )
    if own is None:
        val, rest = _head_of_groups(examples, _places(usable), val_fraction, seed, every_class, leaves=True)
    else:
        parts = examples.groups[~own], examples.groups[own]
        check_apart(*parts, examples.grouped_by, "training", "the data's own validation")
        val, rest = _places(own & usable), _places(usable & ~own)
    if train_fraction is not None:
        rest, _ = _head_of_groups(examples, rest, train_fraction, seed, every_class, leaves=False)
    return rest, val


def _cut_classes(
    examples: Examples,
    usable: Tensor,
    own: Tensor | None,
    val_fraction: float,
    labels_per_class: int | None,
    train_fraction: float | None,
    seed: int,
    every_class: bool,
) -> tuple[Tensor, Tensor]:
    labels, class_names = _classes(examples)
    one = one_of(examples.inputs.shape[1:])
    if own is None and not every_class and labels.bincount().max() < 2:
        labels = torch.zeros_like(labels)  # each image is a class of its own, and one of them must validate
    cuttable = usable if own is None else usable & ~own
    train, val = [], [] if own is None else [_places(own & usable)]
    for of_class in stratified_order(labels, seed):
        members = of_class[cuttable[of_class]]
        name = class_names[int(labels[of_class[0]])] if class_names else ""
        if every_class and len(members) < (2 if own is None else 1):
            raise UserError(_too_few(name, len(members), own is not None, one))
        n_val = share_of(val_fraction, len(members)) if own is None and len(members) else 0
        rest = members[n_val:]
        n_train = len(rest)
        if labels_per_class is not None:
            n_train = labels_per_class
        elif train_fraction is not None:
            n_train = min(max(1, round(train_fraction * len(rest))), len(rest))
        if n_train > len(rest):
            has = f"class {name!r} has {len(rest)} training {one}s"
            beside = f" beside {n_val} for validation: lower it or data.val_fraction" if n_val else ": lower it"
            raise UserError(f"data.labels_per_class={labels_per_class}, but {has}{beside}.")
        val.append(members[:n_val])
        train.append(rest[:n_train])
    positions = torch.cat(train).sort().values, torch.cat(val).sort().values
    if not len(positions[1]):
        raise UserError(f"There is 1 training {one}: 2 are needed, one for validation.")
    return positions


def cut_test(examples: Examples, fraction: float) -> tuple[Tensor, Tensor]:
    """Cut a test part out of data that have none: positions of the rest and of the test part, each sorted.

    It is the same for every seed of a run, stratified by class, and none of the data's own validation examples. Groups
    are whole, and the same ones in other data of these groups where each has every class. A class of one example, or
    group, stays in the rest. Raises UserError for a single example or group.
    """
    places = _places(~_mask(examples.validation, len(examples), default=False))
    if examples.groups is not None:
        if _have_every_class(examples.groups[places], _classes(examples)[0][places]):
            examples = replace(examples, targets=None, names=())
        test, _ = _head_of_groups(examples, places, fraction, FIXED_SEED, every_class=False, leaves=True)
    else:
        labels = _classes(examples)[0][places]
        if labels.bincount().max() < 2:
            labels = torch.zeros_like(labels)
        if len(labels) < 2:
            raise UserError("There is 1 example: 2 are needed, one to test on.")
        orders = stratified_order(labels, FIXED_SEED)
        test = places[torch.cat([order[: share_of(fraction, len(order))] for order in orders])].sort().values
    return _places(~_mask(test, len(examples), default=False)), test


def fold_of(examples: Examples, folds: int, among: Tensor | None = None) -> Tensor:
    """Number the fold of each example, (N,) int64; -1 for the data's own validation and what is not `among` (M,).

    It is the same for every seed of a run. Groups are whole: where each has every class, as many of them are in each
    fold, and the same ones in other data of these groups, such as a pretraining's; else they are dealt out by classes
    and sizes (scikit-learn's StratifiedGroupKFold). Without groups classes are stratified. Raises UserError where there
    are fewer examples or groups than folds.
    """
    from sklearn.model_selection import KFold, StratifiedGroupKFold, StratifiedKFold

    usable = _mask(among, len(examples), default=True) & ~_mask(examples.validation, len(examples), default=False)
    places = _places(usable)
    labels = _classes(examples)[0][places].numpy()
    groups = None if examples.groups is None else examples.groups[places].numpy()
    units = len(places) if groups is None else len(np.unique(groups))
    if units < folds:
        what = "examples" if groups is None else f"groups ({examples.grouped_by})"
        raise UserError(f"There are {units} {what} to train on, fewer than data.folds={folds}: lower it.")
    # A class that has fewer examples than folds is in some of them alone.
    stratified = len(np.unique(labels)) > 1 and np.bincount(labels).max() >= folds
    if groups is None:
        kind: Any = (StratifiedKFold if stratified else KFold)(folds, shuffle=True, random_state=FIXED_SEED)
    else:
        dealt = np.array_split(np.random.default_rng(FIXED_SEED).permutation(np.unique(groups)), folds)
        parts = [np.flatnonzero(np.isin(groups, names)) for names in dealt]
        alike = _have_every_class(torch.from_numpy(groups), torch.from_numpy(labels))
        kind = StratifiedGroupKFold(folds) if stratified and not alike else None
    if kind is not None:
        with warnings.catch_warnings(action="ignore", category=UserWarning):
            by_class = [part for _, part in kind.split(labels, labels, groups)]
        # Few groups may leave a fold empty.
        parts = by_class if groups is None or all(map(len, by_class)) else parts
    numbers = torch.full((len(examples),), -1)
    for number, part in enumerate(parts):
        numbers[places[torch.from_numpy(part)]] = number
    return numbers


def _have_every_class(groups: Tensor, labels: Tensor) -> bool:
    pairs = torch.stack([groups, labels]).unique(dim=1)
    return pairs.shape[1] == len(groups.unique()) * len(labels.unique())


def _head_of_groups(
    examples: Examples, places: Tensor, fraction: float, seed: int, every_class: bool, leaves: bool
) -> tuple[Tensor, Tensor]:
    """Part the examples at `places` (M,) into those of a fraction of their groups and the others, each sorted.

    leaves: whether another part needs its share, and so a group, and each class.
    """
    assert examples.groups is not None
    groups, (labels, class_names) = examples.groups[places], _classes(examples)
    needed = [name for number, name in enumerate(class_names) if bool((labels == number).any())] if every_class else []
    chosen, count = order_of_groups(
        groups, labels[places], seed, class_names=class_names, needed=needed, leaves=leaves, called=examples.grouped_by
    )
    total = len(groups.unique())
    wanted = share_of(fraction, total) if leaves else min(max(1, round(fraction * total)), total)
    head = torch.isin(groups, chosen[: max(wanted, count)])
    return places[head], places[~head]


def _classes(examples: Examples) -> tuple[Tensor, Sequence[str]]:
    """Return what is stratified by, (N,) int64, and its names: classes, or one of all examples without a name."""
    if examples.learnt.kind == "classes":
        return examples.labels, examples.names
    return torch.zeros(len(examples), dtype=torch.int64), ()


def _mask(positions: Tensor | None, count: int, default: bool) -> Tensor:
    if positions is None:
        return torch.full((count,), default)
    mask = torch.zeros(count, dtype=torch.bool)
    mask[positions] = True
    return mask


def _places(mask: Tensor) -> Tensor:
    return mask.nonzero().squeeze(1)


def _too_few(name: str, count: int, has_own: bool, one: str) -> str:
    if has_own:
        return f"Class {name!r} has no training {one}: all that it has are in the data's own validation split."
    examples = one if count == 1 else f"{one}s"
    return f"Class {name!r} has {count} training {examples}: 2 are needed, one for validation."
