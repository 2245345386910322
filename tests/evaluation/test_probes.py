"""The probes against scikit-learn, and features against the network's own parts."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import decomposition
from sklearn.linear_model import LogisticRegression
from sklearn.neighbors import KNeighborsClassifier

from aetransfer.evaluation import features as features_of
from aetransfer.evaluation import probe_models
from aetransfer.evaluation.features import Scale, fit_pca, pooled, shrunk
from aetransfer.evaluation.probe_models import fit_logistic, fit_perceptron, vote
from aetransfer.networks.conv4 import Conv4
from tests.made import TokenEncoder


def right(predicted, labels):
    return (predicted == labels).double().mean().item()


def clouds(count, *, classes=4, dims=12, seed=0):
    """Overlapping, strongly correlated clouds: features (count, dims) and labels (count,)."""
    generator = torch.Generator().manual_seed(seed)
    labels = torch.arange(count) % classes
    centres = torch.randn(classes, dims, generator=torch.Generator().manual_seed(99))
    noise = torch.randn(count, dims, generator=generator) @ torch.randn(
        dims, dims, generator=torch.Generator().manual_seed(98)
    )
    return centres[labels] + 0.5 * noise, labels


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 1000), k=st.sampled_from([1, 3, 7]))
def test_neighbours_vote_as_scikit_learn_has_it(seed, k):
    features, labels = clouds(90, seed=seed)
    queries, _ = clouds(30, seed=seed + 1)
    expected = KNeighborsClassifier(k, algorithm="brute").fit(features.numpy(), labels.numpy()).predict(queries.numpy())

    assert vote(features, labels, queries, [1, k], 4)[k].tolist() == expected.tolist()


def test_more_neighbours_than_there_are_images_are_all_of_them():
    features, labels = torch.tensor([[0.0], [1.0], [2.0]]), torch.tensor([1, 0, 0])

    assert vote(features, labels, torch.tensor([[-1.0]]), [1, 50], 2) == {1: torch.tensor([1]), 50: torch.tensor([0])}


@pytest.mark.parametrize("penalty", [1e-3, 1e-1, 10.0])
def test_logistic_regression_ends_where_scikit_learn_does(monkeypatch, penalty):
    features, labels = clouds(300)
    train = Scale(features)(features), labels
    expected = LogisticRegression(C=penalty, max_iter=5000, tol=1e-8).fit(train[0].double().numpy(), labels.numpy())
    chosen = fit_logistic(train, train, classes=4, inverse_penalties=[penalty], score=right)
    probabilities = (train[0] @ chosen.weight.T + chosen.bias).softmax(1)
    monkeypatch.setattr(probe_models, "TOLERANCE", 1e-7)
    exact = fit_logistic(train, train, classes=4, inverse_penalties=[penalty], score=right)

    assert np.allclose(probabilities, expected.predict_proba(train[0].numpy()), atol=2e-2)
    assert np.allclose(exact.weight, expected.coef_, atol=2e-3)
    assert np.allclose(exact.bias, expected.intercept_, atol=2e-3)


def test_features_that_say_the_same_twice_or_nothing_at_all_are_no_harm():
    features, labels = clouds(300)
    constant, generator = torch.full((300, 40), 7.0), torch.Generator().manual_seed(1)
    many = torch.cat([features, features, constant, features @ torch.randn(12, 400, generator=generator)], 1)
    train = Scale(many)(many), labels
    expected = LogisticRegression(C=1e-2, max_iter=5000, tol=1e-8).fit(train[0].double().numpy(), labels.numpy())
    fitted = fit_logistic(train, train, classes=4, inverse_penalties=[1e-2], score=right)

    probabilities = (train[0] @ fitted.weight.T + fitted.bias).softmax(1)
    assert np.allclose(probabilities, expected.predict_proba(train[0].numpy()), atol=2e-2)
    assert not fitted.weight[:, 24:64].any()
    # With next to no penalty nothing but the ridge keeps the bound definite.
    unpenalised = fit_logistic(train, train, classes=4, inverse_penalties=[1e7], score=right)
    assert torch.equal(unpenalised.predict(train[0]), labels)


def test_the_penalty_is_chosen_on_validation_alone():
    # On training the weakest penalty is best; labels of the validation split that are noise in all but one direction
    # favour a strong one.
    generator = torch.Generator().manual_seed(0)
    labels = torch.arange(40) % 2
    signal = (labels * 2.0 - 1).unsqueeze(1)
    train = torch.cat([signal + torch.randn(40, 1, generator=generator), torch.randn(40, 60, generator=generator)], 1)
    val_labels = torch.arange(2000) % 2
    val = torch.cat([(val_labels * 2.0 - 1).unsqueeze(1) + torch.randn(2000, 1, generator=generator),
                     torch.randn(2000, 60, generator=generator)], 1)  # fmt: skip
    chosen = fit_logistic((train, labels), (val, val_labels), classes=2, inverse_penalties=[1e-2, 1e2], score=right)
    alone = [
        fit_logistic((train, labels), (val, val_labels), classes=2, inverse_penalties=[penalty], score=right)
        for penalty in (1e-2, 1e2)
    ]

    assert chosen.inverse_penalty == max(alone, key=lambda fitted: fitted.val_score).inverse_penalty == 1e-2
    assert chosen.val_score == pytest.approx(alone[0].val_score, abs=2e-3)


def test_the_mlp_reads_what_no_linear_probe_can_and_leaves_the_global_generator_alone():
    generator = torch.Generator().manual_seed(0)
    features = torch.rand(600, 2, generator=generator) * 2 - 1
    labels = (features[:, 0] * features[:, 1] > 0).long()  # exclusive or
    split = features, labels
    before = torch.get_rng_state()
    fitted = fit_perceptron(split, split, classes=2, hidden=[64], epochs=60, seed=0)

    assert torch.equal(torch.get_rng_state(), before)
    assert fitted.val_acc == pytest.approx((fitted.predict(features) == labels).float().mean().item())
    assert fitted.val_acc > 0.95
    assert fit_logistic(split, split, classes=2, inverse_penalties=[1.0], score=right).val_score < 0.65
    again = fit_perceptron(split, split, classes=2, hidden=[64], epochs=60, seed=0)
    assert torch.equal(again.predict(features), fitted.predict(features))


def test_principal_components_are_scikit_learns_up_to_their_sign():
    features, _ = clouds(200)
    (ours, word), theirs = fit_pca(features.split(64), 200, 5), decomposition.PCA(5).fit(features.numpy())
    reconstructed = torch.from_numpy(theirs.inverse_transform(theirs.transform(features.numpy())))

    assert torch.allclose(ours(features).abs(), torch.from_numpy(theirs.transform(features.numpy())).abs(), atol=1e-3)
    assert torch.allclose(ours.inverse(ours(features)), reconstructed, atol=1e-3)
    assert word == ""


def test_components_of_what_no_covariance_is_held_of_are_nearly_the_same_and_a_word_says_so(monkeypatch):
    # Three directions out of 400, and noise: what is fitted batch by batch keeps them.
    generator = torch.Generator().manual_seed(0)
    directions = torch.linalg.qr(torch.randn(400, 3, generator=generator)).Q.T
    codes = torch.randn(612, 3, generator=generator) * torch.tensor([9.0, 6.0, 4.0])
    features = codes @ directions + 0.1 * torch.randn(612, 400, generator=generator)
    exact, _ = fit_pca(features.split(100), 612, 3)
    monkeypatch.setattr(features_of, "MOST_NUMBERS", 400 * 400 - 1)
    nearly, word = fit_pca(features.split(100), 612, 3)

    assert "fitted batch by batch" in word and "612 examples of 400 numbers" in word
    assert torch.allclose((exact.components.T @ nearly.components).abs(), torch.eye(3), atol=1e-2)
    assert torch.allclose(exact.mean, nearly.mean, atol=1e-5)


def test_there_are_no_more_components_than_images_where_no_covariance_is_held(monkeypatch):
    monkeypatch.setattr(features_of, "MOST_NUMBERS", 1)
    fitted, _ = fit_pca([torch.rand(4, 50), torch.rand(3, 50)], 7, 128)

    assert fitted.components.shape == (50, 7)


@pytest.mark.parametrize(("channels", "size", "side"), [(3, 32, 32), (3, 224, 36), (1, 64, 64), (1, 227, 64)])
def test_large_images_are_averaged_to_as_many_numbers_as_a_baseline_holds(channels, size, side):
    images = torch.rand(2, channels, size, size)
    found = shrunk(images, 64 * 64)

    assert found.shape == (2, channels, side, side)
    torch.testing.assert_close(found.mean((2, 3)), images.mean((2, 3)), rtol=0.02, atol=0)


def test_a_constant_feature_says_nothing_and_breaks_nothing():
    features = torch.cat([torch.full((5, 1), 3.0), torch.arange(5.0).unsqueeze(1)], 1)
    scaled = Scale(features)(features)

    assert torch.equal(scaled[:, 0], torch.zeros(5))
    assert scaled[:, 1].std(correction=0) == pytest.approx(1)


@pytest.mark.parametrize(("max_features", "grid"), [(1024, 8), (256, 8), (255, 4), (64, 4), (16, 2), (4, 1), (1, 1)])
def test_maps_are_averaged_to_the_largest_grid_that_fits(max_features, grid):
    maps = torch.rand(2, 4, 8, 8)
    features = pooled(maps, max_features)

    assert features.shape == (2, 4 * grid * grid)
    side = 8 // grid
    assert features[1, 0] == pytest.approx(maps[1, 0, :side, :side].mean().item(), rel=1e-5)


@pytest.mark.parametrize(("batch_norm", "hidden"), [(False, []), (True, []), (True, [24])])
def test_layers_are_the_networks_own_activations(batch_norm, hidden):
    torch.manual_seed(0)
    encoder = Conv4(input_shape=(1, 16, 16), latent_dim=6, widths=[4, 8], batch_norm=batch_norm, hidden=hidden)
    encoder.eval()
    images = torch.rand(3, 1, 16, 16)
    outputs = encoder.layer_outputs(images)
    step = 3 if batch_norm else 2

    assert list(outputs) == [*(f"layer{n + 1}" for n in range(2 + len(hidden))), "bottleneck"]
    normalised = encoder.normalise(images)
    torch.testing.assert_close(outputs["layer1"], encoder.convolutions[:step](normalised))
    torch.testing.assert_close(outputs["layer2"], encoder.convolutions(normalised))
    torch.testing.assert_close(outputs["bottleneck"], encoder(images))
    if hidden:
        torch.testing.assert_close(outputs["layer3"], encoder.features(images))
    assert not any(module._forward_hooks for module in encoder.modules())


def test_layers_have_the_numbers_that_a_transplant_counts():
    encoder = TokenEncoder(input_shape=(1, 16, 16), latent_dim=6)
    images = torch.rand(3, 1, 16, 16)
    outputs = encoder.layer_outputs(images)

    # Neither the class token, the first layer, nor what attention is made of hands anything on by itself.
    assert list(outputs) == ["layer2", "bottleneck"]
    torch.testing.assert_close(outputs["layer2"], encoder.patches(encoder.normalise(images)))
    torch.testing.assert_close(outputs["bottleneck"], encoder(images))


def test_maps_of_signals_are_averaged_over_as_many_windows_as_fit():
    maps = torch.rand(2, 8, 20)

    assert torch.equal(pooled(maps, 160, (3, 40)), maps.flatten(1))
    assert pooled(maps, 40, (3, 40)).shape == (2, 40)
    assert torch.equal(pooled(maps, 4, (3, 40)), maps.mean(2))
    assert torch.equal(pooled(maps, 4, (3, 16, 16)), maps.mean(1))  # of images they are tokens


@pytest.mark.parametrize(("shape", "features"), [((2, 4, 6, 12), 4 * 6 * 12), ((2, 6, 12, 4), 4 * 6 * 12)])
def test_oblong_maps_have_their_channels_first_or_last(shape, features):
    maps = torch.rand(shape)
    channels_first = maps if shape[1] == 4 else maps.movedim(3, 1)

    assert torch.equal(pooled(maps, features, (3, 48, 96)), channels_first.flatten(1))
    assert pooled(maps, 4 * 18, (3, 48, 96)).shape == (2, 4 * 18)
    torch.testing.assert_close(pooled(maps, 4, (3, 48, 96)), channels_first.mean((2, 3)))


def test_large_signals_and_oblong_images_keep_their_form():
    assert shrunk(torch.rand(2, 3, 1000), 300).shape == (2, 3, 100)
    assert shrunk(torch.rand(2, 1, 100, 400), 400).shape == (2, 1, 10, 40)
    vectors = torch.rand(2, 5000)
    assert shrunk(vectors, 300) is vectors
