"""Real vectors that come with scikit-learn: measurements of patients."""

import numpy as np
import torch
from sklearn.datasets import load_breast_cancer, load_diabetes

from aetransfer.data.examples import Examples, Split
from aetransfer.data.split import stratified_order

TEST_SHARE = 0.2


def read_diabetes(split: Split) -> Examples:
    """Read 10 measurements of patients, in their units, and the progression of their diabetes a year later: (354 or 88,
    10). Efron et al. (2004). The split is the same every time.
    """
    data = load_diabetes(scaled=False)
    order = np.random.default_rng(0).permutation(len(data.data))
    test = round(TEST_SHARE * len(order))
    chosen = np.sort(order[:test] if split == "test" else order[test:])
    values = torch.from_numpy(data.target[chosen]).float()
    return Examples(torch.from_numpy(data.data[chosen]).float(), values, names=("progression",))


def read_breast_cancer(split: Split) -> Examples:
    """Read 30 measurements of cell nuclei and whether the tumour is malignant: (456 or 113, 30), 2 classes. Wolberg et
    al. (1995). The split is the same every time, a fifth of each class.
    """
    data = load_breast_cancer()
    labels = torch.from_numpy(data.target).long()
    cut = [(members, round(TEST_SHARE * len(members))) for members in stratified_order(labels, seed=0)]
    parts = [members[:test] if split == "test" else members[test:] for members, test in cut]
    chosen = torch.cat(parts).sort().values
    return Examples(
        torch.from_numpy(data.data).float()[chosen], labels[chosen], names=tuple(map(str, data.target_names))
    )
