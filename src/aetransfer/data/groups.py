"""Groups of examples that belong together, such as the recordings of one patient: no cut may part them."""

from collections import deque
from collections.abc import Collection, Sequence

import numpy as np
import torch
from torch import Tensor

from aetransfer.errors import UserError

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
