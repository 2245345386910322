"""CKA, effective rank, LogME, H-score: invariances, closed forms and direct maximisation."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import minimize
from scipy.stats import multivariate_normal
from sklearn.covariance import LedoitWolf

from aetransfer.data.examples import Examples
from aetransfer.evaluation.measure import Subject
from aetransfer.evaluation.representation import MinibatchCKA, Representation, hsic1
from aetransfer.evaluation.transferability import effective_rank, h_score, logme, shrunk_h_score
from aetransfer.store.directory import RunDirectory
from aetransfer.training.build import architecture_of, make_data, make_encoder, make_model
from tests.integration.conftest import job_of


def pair(count, seed=0, dims=5):
    """Features, and others that are half made of them."""
    generator = torch.Generator().manual_seed(seed)
    one = torch.randn(count, dims, generator=generator, dtype=torch.float64)
    noise = torch.randn(count, dims, generator=generator, dtype=torch.float64)
    return one, one @ torch.randn(dims, dims, generator=generator, dtype=torch.float64) + 2 * noise


def cka(one, other, batch=None):
    size = batch or len(one)
    found = MinibatchCKA()
    for x, y in zip(one.split(size), other.split(size), strict=True):
        found.update({"a": x}, {"b": y})
    return found.compute().item()


def biased_cka(one, other):
    """Kornblith et al. 2019, eq. 5, on centred features."""
    one, other = one - one.mean(0), other - other.mean(0)
    norm = torch.linalg.matrix_norm
    return (norm(one.T @ other) ** 2 / (norm(one.T @ one) * norm(other.T @ other))).item()


@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 100), scale=st.floats(0.01, 100))
def test_cka_sees_no_rotation_scale_or_shift(seed, scale):
    one, other = pair(40, seed)
    rotation, _ = torch.linalg.qr(torch.randn(5, 5, dtype=torch.float64))

    assert cka(one, one @ rotation * scale + 3) == pytest.approx(1)
    assert cka(one, other @ rotation * scale - 1) == pytest.approx(cka(one, other))


def test_cka_does_see_other_linear_maps():
    one, _ = pair(500)
    stretched = one * torch.tensor([10.0, 1, 1, 1, 1])

    assert cka(one, stretched) < 0.7


def test_with_many_examples_it_is_the_biased_formula():
    one, other = pair(3000)

    assert cka(one, other) == pytest.approx(biased_cka(one, other), abs=2e-3)


def test_small_batches_agree_with_one_large_where_the_biased_formula_does_not():
    one, other = pair(12_000, dims=20)
    small = cka(one, other, batch=24)
    biased = np.mean([biased_cka(x, y) for x, y in zip(one.split(24), other.split(24), strict=True)])

    assert small == pytest.approx(cka(one, other, batch=3000), abs=0.02)
    assert biased > small + 0.1


def test_the_unbiased_hsic_is_its_definition_over_distinct_examples():
    one, other = (features @ features.T for features in pair(7))
    n = len(one)
    indices = range(n)
    triples = pairs = quads = 0.0
    for i in indices:
        for j in indices:
            if i == j:
                continue
            pairs += (one[i, j] * other[i, j]).item()
            for q in indices:
                if q in (i, j):
                    continue
                triples += (one[i, j] * other[i, q]).item()
                quads += sum((one[i, j] * other[q, r]).item() for r in indices if r not in (i, j, q))
    expected = pairs / (n * (n - 1)) - 2 * triples / math.perm(n, 3) + quads / math.perm(n, 4)

    assert hsic1(one, other).item() == pytest.approx(expected)


def test_unrelated_features_have_no_similarity_on_average():
    generator = torch.Generator().manual_seed(0)
    one, other = (torch.randn(4000, 8, generator=generator) for _ in range(2))

    assert abs(cka(one, other, batch=40)) < 0.02


def subject_of(images, directory):
    """A pretraining without a step on images of the digits' size."""
    job = job_of("model=ae", "data=digits", "encoder.widths=[4,8]", "encoder.latent_dim=6", "data.val_fraction=0.1")
    data = make_data(job.data, job.seed, [])
    data.reader = lambda split: images
    data.setup("fit")
    torch.manual_seed(job.seed)
    encoder = make_encoder(job)
    encoder.normalise.set_statistics(*data.statistics())
    model = make_model(job, encoder, 4).eval()
    return Subject(RunDirectory(directory), job, model, data, "test", torch.device("cpu"), architecture_of(job))


def class_by_class(count):
    """Grey images, as a folder has them: all of a class, then all of the next, which is brighter."""
    labels = torch.arange(4).repeat_interleave(count // 4)
    noise = torch.randint(0, 60, (count, 1, 32, 32), generator=torch.Generator().manual_seed(0))
    return Examples((noise + 60 * labels.view(-1, 1, 1, 1)).to(torch.uint8), labels, names=tuple("abcd"))


def similarities(subject, **settings):
    found = Representation(images=240, **settings)(subject)
    return [row["cka_random"] for row in found.rows]


def test_images_that_come_class_by_class_are_compared_in_batches_of_all_classes(tmp_path):
    subject = subject_of(class_by_class(240), tmp_path)

    assert similarities(subject, batch=20) == pytest.approx(similarities(subject, batch=240), abs=0.02)


def test_the_random_encoder_is_not_the_one_that_the_run_itself_began_with(tmp_path):
    assert max(similarities(subject_of(class_by_class(240), tmp_path), batch=240)) < 0.999


def test_a_layer_that_says_the_same_of_every_image_has_no_similarity_and_no_rank(tmp_path):
    subject = subject_of(class_by_class(240), tmp_path)
    torch.nn.init.zeros_(subject.model.encoder.bottleneck.weight)
    found = Representation(images=240)(subject)

    assert (found.rows[-1]["cka_random"], found.rows[-1]["effective_rank"]) == (None, 0)
    assert found.facts["cka"]["itself"]["cka"][-1] == [None] * 3


@pytest.mark.parametrize("rank", [1, 3])
def test_the_effective_rank_counts_directions_of_equal_size(rank):
    generator = torch.Generator().manual_seed(0)
    directions, _ = torch.linalg.qr(torch.randn(60, rank, generator=generator) - 0.0)
    directions = torch.linalg.qr(directions - directions.mean(0)).Q

    assert effective_rank(directions @ torch.linalg.qr(torch.randn(8, rank, generator=generator)).Q.T) == pytest.approx(
        rank, rel=1e-4
    )


def test_the_effective_rank_is_the_exponential_of_the_entropy():
    features = torch.zeros(4, 2)
    features[:, 0], features[:, 1] = torch.tensor([3.0, -3, 0, 0]), torch.tensor([0.0, 0, 1, -1])
    share = 0.75

    assert effective_rank(features) == pytest.approx(
        math.exp(-share * math.log(share) - (1 - share) * math.log(1 - share)), rel=1e-4
    )


@pytest.mark.parametrize("dims", [3, 40])
def test_logme_is_the_largest_evidence_that_any_precisions_give(dims):
    generator = torch.Generator().manual_seed(0)
    labels = torch.arange(30) % 3
    features = torch.randn(30, dims, generator=generator).double()
    features[:, 0] += labels
    targets = torch.nn.functional.one_hot(labels).double().numpy()
    gram = (features @ features.T).numpy()

    def negative(logs, target):  # y ~ N(0, 1 / beta + F F^T / alpha)
        alpha, beta = np.exp(logs)
        return -multivariate_normal(np.zeros(30), np.eye(30) / beta + gram / alpha).logpdf(target) / 30

    # The evidence has several maxima: features that are of no use are best at alpha = infinity.
    starts = [(alpha, beta) for alpha in (-2.0, 2.0, 6.0, 20.0) for beta in (0.0, 2.0)]
    best = [
        max(-minimize(negative, start, args=(targets[:, c],), method="Nelder-Mead").fun for start in starts)
        for c in range(3)
    ]
    assert logme(features, torch.nn.functional.one_hot(labels, 3)) == pytest.approx(np.mean(best), abs=3e-3)


def test_the_h_score_is_its_definition():
    generator = torch.Generator().manual_seed(0)
    labels = torch.arange(90) % 3
    features = torch.randn(90, 4, generator=generator).double()
    features[:, 0] += 2 * labels
    means = np.stack([features[labels == label].mean(0).numpy() for label in labels])
    expected = np.trace(np.linalg.inv(np.cov(features.T.numpy(), bias=True)) @ np.cov(means.T, bias=True))

    assert h_score(features, labels) == pytest.approx(expected)


def test_the_h_score_of_features_that_are_the_class_is_the_classes_less_one():
    labels = torch.arange(40) % 4

    assert h_score(torch.nn.functional.one_hot(labels).float(), labels) == pytest.approx(3)
    assert h_score(torch.ones(40, 2), labels) == pytest.approx(0)


def test_shrinking_takes_back_what_few_images_pretend_and_changes_little_for_many():
    generator = torch.Generator().manual_seed(0)
    few, many = torch.arange(40) % 4, torch.arange(20_000) % 4
    noise, plenty = torch.randn(40, 60, generator=generator), torch.randn(20_000, 6, generator=generator)
    plenty[:, 0] += many

    assert h_score(noise, few) == pytest.approx(3)
    assert shrunk_h_score(noise, few) < 0.5
    assert shrunk_h_score(plenty, many) == pytest.approx(h_score(plenty, many), rel=0.01)


def test_the_shrunk_h_score_is_its_formula_with_scikit_learns_covariance():
    generator = torch.Generator().manual_seed(0)
    labels = torch.arange(60) % 3
    features = torch.randn(60, 8, generator=generator).double()
    features[:, 0] += labels
    fitted = LedoitWolf().fit(features.numpy())
    means = np.stack([features[labels == label].mean(0).numpy() for label in labels])
    between = np.cov(means.T, bias=True)

    assert shrunk_h_score(features, labels) == pytest.approx(
        (1 - fitted.shrinkage_) * np.trace(np.linalg.inv(fitted.covariance_) @ between)
    )
