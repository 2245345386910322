"""The embedded sets without images: what they hold, and that it is the same every time."""

import torch
from sklearn.linear_model import LogisticRegression
from sklearn.neural_network import MLPClassifier

from aetransfer.data.readers.embedded import read_breast_cancer, read_diabetes, read_mnist1d


def test_diabetes_are_measurements_in_their_units_and_a_value():
    train, test = read_diabetes("train"), read_diabetes("test")
    assert train.inputs.shape == (354, 10) and test.inputs.shape == (88, 10)
    assert train.learnt.kind == "values" and train.learnt.names == ("progression",)
    assert 18 < train.inputs[:, 0].min() < train.inputs[:, 0].max() < 80  # years
    assert train.targets.min() >= 25 and train.targets.max() <= 346
    together = torch.cat([train.inputs, test.inputs])
    assert len(together.unique(dim=0)) == 442
    assert torch.equal(read_diabetes("test").inputs, test.inputs)


def test_breast_cancer_has_a_fifth_of_each_class_in_its_test_split():
    train, test = read_breast_cancer("train"), read_breast_cancer("test")
    assert train.inputs.shape == (456, 30) and test.inputs.shape == (113, 30)
    assert train.names == ("malignant", "benign")
    assert test.targets.bincount().tolist() == [42, 71] and train.targets.bincount().tolist() == [170, 286]


def test_mnist1d_is_as_hard_as_its_authors_say():
    train, test = read_mnist1d("train"), read_mnist1d("test")
    assert train.inputs.shape == (4000, 1, 40) and test.inputs.shape == (1000, 1, 40)
    assert train.inputs.dtype == torch.float32 and train.names == tuple("0123456789")
    both = torch.cat([train.inputs, test.inputs])
    assert both.mean().abs() < 1e-5 and abs(both.std() - 1) < 1e-3
    assert torch.cat([train.targets, test.targets]).bincount().tolist() == [500] * 10
    known, asked = train.inputs[:, 0].numpy(), test.inputs[:, 0].numpy()
    # Published: 32 % and, of a network that is trained longer, 68 %.
    linear = LogisticRegression(C=0.1, max_iter=100).fit(known, train.targets).score(asked, test.targets)
    layers = MLPClassifier((100, 100), max_iter=30, random_state=0).fit(known, train.targets)
    assert 0.27 < linear < 0.37
    assert 0.55 < layers.score(asked, test.targets) < 0.75
