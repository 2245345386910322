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


def cut(
    labels: Tensor,
    class_names: Sequence[str],
    *,
    val_fraction: float,
    labels_per_class: int | None,
    train_fraction: float | None,
    seed: int,
) -> tuple[Tensor, Tensor]:
    """Cut training labels (N,) int64 into positions for training and for validation, each sorted.

    Each class gives round(val_fraction * n) images to validation, but at least one, and keeps at least one. Of the
    rest, `labels_per_class` (or round(train_fraction * rest), at least one) are used for training, all where neither
    is given. Raises UserError for a class with too few images.
    """
    train, val = [], []
    for members in stratified_order(labels, seed):
        name = class_names[int(labels[members[0]])]
        if len(members) < 2:
            raise UserError(f"Class {name!r} has {len(members)} training image: 2 are needed, one for validation.")
        n_val = min(max(1, round(val_fraction * len(members))), len(members) - 1)
        rest = members[n_val:]
        n_train = len(rest)
        if labels_per_class is not None:
            n_train = labels_per_class
        elif train_fraction is not None:
            n_train = max(1, round(train_fraction * len(rest)))
        if n_train > len(rest):
            raise UserError(
                f"data.labels_per_class={labels_per_class}, but class {name!r} has {len(rest)} training images "
                f"beside {n_val} for validation: lower it or data.val_fraction."
            )
        val.append(members[:n_val])
        train.append(rest[:n_train])
    return torch.cat(train).sort().values, torch.cat(val).sort().values
