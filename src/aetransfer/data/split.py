"""Stratified, seeded cuts of a data set: validation out of train, and nested subsets of what remains.

Everything follows from one shuffled order per class. Validation takes its head, a subset of n labels per class the n
that come next: so subsets of one seed are nested, and no subset ever meets the validation split.
"""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from aetransfer.errors import UserError


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
    labels: Tensor,
    class_names: Sequence[str],
    *,
    val_fraction: float,
    labels_per_class: int | None,
    train_fraction: float | None,
    seed: int,
    validation: Tensor | None = None,
    every_class: bool = True,
) -> tuple[Tensor, Tensor]:
    """Cut training labels (N,) int64 into positions for training and for validation, each sorted.

    Each class gives round(val_fraction * n) images to validation, but at least one, and keeps at least one. Of the
    rest, `labels_per_class` (or round(train_fraction * rest), at least one) are used for training, all where neither
    is given. validation: positions (V,) of the data's own validation images, which are used in place of such a cut.
    every_class: whether each class must be in both parts; else a class of one image stays in training.

    Raises UserError for a class with too few images.
    """
    own = torch.zeros(len(labels), dtype=torch.bool)
    if validation is not None:
        own[validation] = True
    elif not every_class and labels.bincount().max() < 2:
        labels = torch.zeros_like(labels)  # each image is a class of its own, and one of them must validate
    train, val = [], [own.nonzero().squeeze(1)]
    for of_class in stratified_order(labels, seed):
        members = of_class[~own[of_class]]
        name = class_names[int(labels[of_class[0]])] if class_names else ""
        if every_class and len(members) < (2 if validation is None else 1):
            raise UserError(_too_few(name, len(members), validation))
        n_val = share_of(val_fraction, len(members)) if validation is None else 0
        rest = members[n_val:]
        n_train = len(rest)
        if labels_per_class is not None:
            n_train = labels_per_class
        elif train_fraction is not None:
            n_train = min(max(1, round(train_fraction * len(rest))), len(rest))
        if n_train > len(rest):
            has = f"class {name!r} has {len(rest)} training images"
            beside = f" beside {n_val} for validation: lower it or data.val_fraction" if n_val else ": lower it"
            raise UserError(f"data.labels_per_class={labels_per_class}, but {has}{beside}.")
        val.append(members[:n_val])
        train.append(rest[:n_train])
    positions = torch.cat(train).sort().values, torch.cat(val).sort().values
    if not len(positions[1]):
        raise UserError("There is 1 training image: 2 are needed, one for validation.")
    return positions


def _too_few(name: str, count: int, validation: Tensor | None) -> str:
    if validation is not None:
        return f"Class {name!r} has no training image: all that it has are in the data's own validation split."
    return f"Class {name!r} has {count} training image: 2 are needed, one for validation."
