"""What a split of machine data by segments claims, and that one by machines claims nothing of the kind."""

import numpy as np
import pytest
import torch
from sklearn.decomposition import PCA
from sklearn.neighbors import KNeighborsClassifier
from sklearn.random_projection import GaussianRandomProjection

from aetransfer.data.augmented import Augment
from aetransfer.data.examples import Examples
from aetransfer.data.module import DataModule

MACHINES, SEGMENTS, LENGTH = 16, 24, 128


def machine_data(seed: int, by_machine: bool) -> Examples:
    """Segments of vibration, of machines that are sound or worn. What can be told apart in them is the machine alone:
    each has a signature of its own, and nothing in it is of the state.
    """
    rng = np.random.default_rng(seed)
    signatures = rng.normal(size=(MACHINES, 1, LENGTH))
    signals = signatures + 2.2 * rng.normal(size=(MACHINES, SEGMENTS, LENGTH))
    machines = torch.arange(MACHINES).repeat_interleave(SEGMENTS)
    return Examples(
        torch.tensor(signals, dtype=torch.float32).reshape(-1, 1, LENGTH),
        machines % 2,
        groups=machines if by_machine else None,
        names=("sound", "worn"),
        grouped_by="machine",
        has_test=False,
    )


def gain(examples: Examples, **tested_on: object) -> tuple[float, float]:
    """Accuracy of a probe on features that were learnt without labels, and how much better than on random ones."""
    data = DataModule(
        lambda split: examples, shape=None, pad=0, batch_size=32, val_fraction=0.2, labels_per_class=None,
        train_fraction=None, epoch_images=None, augment=Augment(), max_memory_gb=1.0, workers=1, seed=0,
        classifies=True, **tested_on,
    )  # fmt: skip
    data.setup("fit")
    parts = {}
    for part in ("train", "test"):
        ((inputs, targets),) = data.in_order(part, 10_000, torch.device("cpu"))
        parts[part] = inputs.flatten(1).numpy(), targets.numpy()

    def accuracy(features: PCA | GaussianRandomProjection) -> float:
        features.fit(parts["train"][0])
        probe = KNeighborsClassifier(9).fit(features.transform(parts["train"][0]), parts["train"][1])
        return probe.score(features.transform(parts["test"][0]), parts["test"][1])

    learnt = accuracy(PCA(12, random_state=0))
    return learnt, learnt - accuracy(GaussianRandomProjection(12, random_state=0))


@pytest.mark.parametrize("tested_on", [{"test_fraction": 0.25}, {"folds": 4, "fold": 1}])
def test_a_split_by_segments_finds_a_transfer_that_is_leakage_and_one_by_machines_does_not(tested_on) -> None:
    by_segment = np.array([gain(machine_data(seed, by_machine=False), **tested_on) for seed in range(6)])
    by_machine = np.array([gain(machine_data(seed, by_machine=True), **tested_on) for seed in range(6)])

    assert by_segment[:, 0].mean() > 0.8
    assert by_segment[:, 1].mean() > 0.2
    assert abs(by_machine[:, 0].mean() - 0.5) < 0.1
    assert abs(by_machine[:, 1].mean()) < 0.1
