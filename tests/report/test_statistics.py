"""Intervals, verdicts and seeds against closed forms, a second implementation, and simulations of what they promise."""

import itertools

import numpy as np
import pytest
from scipy import stats

from aetransfer.report.comparison import verdict
from aetransfer.report.statistics import compare, power, seeds_needed, summarise


def test_mean_deviation_and_interquartile_mean_are_the_textbooks():
    summary = summarise([[1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 100.0]])

    assert summary.mean == 16.0
    assert summary.sd == pytest.approx(np.sqrt(sum((x - 16) ** 2 for x in (1, 2, 3, 4, 5, 6, 7, 100)) / 7))
    assert summary.iqm == 4.5  # of 3, 4, 5, 6


def test_one_value_has_no_deviation_and_no_interval_and_two_have_no_bootstrap():
    assert (summarise([[0.5]]).sd, summarise([[0.5]]).interval) == (None, None)
    assert summarise([[0.4, 0.6]]).interval is None
    assert summarise([[0.4, 0.6]]).sd == pytest.approx(0.2 / np.sqrt(2))


def test_equal_values_have_no_interval_of_width_zero():
    assert summarise([[0.1] * 7]).interval is None
    assert summarise([[0.1] * 7]).sd == 0.0


def test_the_bootstrap_agrees_with_every_resample_of_three_values_counted_out():
    values = (0.1, 0.4, 0.9)
    means = [np.mean(drawn) for drawn in itertools.product(values, repeat=3)]
    lowest, highest = np.percentile(means, [2.5, 97.5], method="inverted_cdf")

    low, high = summarise([values]).interval

    assert (low, high) == pytest.approx((lowest, highest))


def test_the_stratified_bootstrap_agrees_with_a_loop_that_draws_within_each_task():
    easy, hard = np.array([0.90, 0.92, 0.91, 0.95, 0.93]), np.array([0.3, 0.34, 0.38, 0.31, 0.33])
    random = np.random.default_rng(1)
    means = [np.mean([*random.choice(easy, 5), *random.choice(hard, 5)]) for _ in range(8000)]

    low, high = summarise([easy, hard]).interval

    assert (low, high) == pytest.approx(tuple(np.percentile(means, [2.5, 97.5])), abs=2e-3)
    pooled = summarise([[*easy, *hard]]).interval
    assert high - low < (pooled[1] - pooled[0]) / 5  # the difference between tasks is not uncertainty


def test_an_interval_is_the_same_each_time():
    values = [0.71, 0.74, 0.69, 0.77]
    assert summarise([values]) == summarise([values])


def test_the_paired_interval_is_the_closed_form_of_student():
    arm, control = [0.80, 0.83, 0.81, 0.86], [0.78, 0.80, 0.82, 0.80]
    differences = np.subtract(arm, control)
    half = stats.t.ppf(0.975, 3) * differences.std(ddof=1) / np.sqrt(4)

    paired = compare(arm, control)

    assert paired.interval == pytest.approx((differences.mean() - half, differences.mean() + half))
    assert paired.better == 0.75


def test_ties_count_half_in_the_probability_of_improvement():
    assert compare([0.5, 0.6], [0.5, 0.5]).better == 0.75


@pytest.mark.parametrize("n", [3, 5])
def test_the_verdicts_interval_covers_95_percent_and_a_bootstrap_of_as_few_does_not(n):
    random = np.random.default_rng(n)
    trials, truth = 2000, 0.03
    controls = random.normal(0.7, 0.05, (trials, n))
    arms = controls + random.normal(truth, 0.02, (trials, n))

    covered = np.mean(
        [low <= truth <= high for low, high in (compare(*pair).interval for pair in zip(arms, controls, strict=True))]
    )

    differences = arms - controls
    drawn = differences[:, random.integers(0, n, (500, n))].mean(axis=2)
    low, high = np.percentile(drawn, [2.5, 97.5], axis=1)
    by_bootstrap = np.mean((low <= truth) & (truth <= high))
    assert 0.935 < covered < 0.965
    assert by_bootstrap < 0.9


@pytest.mark.parametrize(("effect", "n"), [(0.2, 199), (0.5, 34), (0.8, 15)])
def test_seeds_needed_are_those_of_the_published_tables_of_the_paired_t_test(effect, n):
    """Cohen's small, medium and large effects; G*Power 3.1 gives the same three numbers."""
    assert seeds_needed(effect, 1.0) == n


@pytest.mark.parametrize("effect", [9.0, 3.0, 1.56, 0.4, 0.1])
def test_seeds_needed_are_the_fewest_with_the_power(effect):
    n = seeds_needed(effect, 1.0)

    assert power(effect, n) >= 0.8
    assert n == 2 or power(effect, n - 1) < 0.8


def test_power_is_the_share_of_simulated_experiments_that_show_a_difference():
    random = np.random.default_rng(0)
    differences = random.normal(1.2, 1.0, (4000, 6))
    shown = stats.ttest_1samp(differences, 0, axis=1).pvalue < 0.05

    assert power(1.2, 6) == pytest.approx(shown.mean(), abs=0.02)


def test_a_verdict_says_helps_or_hurts_only_where_the_interval_leaves_zero_out():
    control = [0.70, 0.72, 0.71]
    assert verdict(compare([0.80, 0.81, 0.82], control), "scratch") == "helps relative to scratch"
    assert verdict(compare([0.60, 0.61, 0.62], control), "scratch") == "hurts relative to scratch"
    assert verdict(compare([0.71, 0.70, 0.74], control), "scratch").startswith("no difference shown at n = 3: about ")


def test_a_difference_of_next_to_nothing_would_take_more_than_a_thousand_seeds():
    paired = compare([0.700, 0.7401, 0.72, 0.7], [0.72, 0.72, 0.70, 0.72])
    assert "more than 1,000 seeds might show it" in verdict(paired, "scratch")


def test_one_pair_and_differences_without_spread_give_no_verdict():
    assert compare([0.8], [0.7]).interval is None
    assert verdict(compare([0.8], [0.7]), "scratch") == "one seed: nothing can be said"
    assert verdict(compare([0.8, 0.9], [0.7, 0.8]), "scratch").startswith(
        "no difference shown at n = 2: all seeds differ by"
    )
    assert verdict(None, "scratch") == "not compared: no run of scratch with its seeds"


@pytest.mark.parametrize(("arm", "control"), [([], []), ([0.1], [0.1, 0.2])])
def test_what_is_not_paired_is_refused(arm, control):
    with pytest.raises(ValueError, match="paired"):
        compare(arm, control)
