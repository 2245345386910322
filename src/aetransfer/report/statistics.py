"""What can be said of a few seeds: an interval for a mean, for a paired difference, and the seeds still missing.

A percentile bootstrap of 3 to 5 values covers far less than 95 % (tests/report/test_statistics.py simulates
it), so it describes the tables' means, while every verdict rests on the paired t interval, which keeps its 95 % for
differences that are roughly normal, however few there are.

Folds are no independent repetitions: any two share most of what they are trained on. Their intervals take the
correction of Nadeau and Bengio (2003), "Inference for the Generalization Error", in means and in differences.
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from statistics import median

import numpy as np
from scipy import stats

LEVEL = 0.95
POWER = 0.8
RESAMPLES = 4000
# A bootstrap of two values can only give them back.
FEWEST_FOR_BOOTSTRAP = 3
MOST_SEEDS = 1000
# Equal differences come out of float32 metrics as different ones in the 8th digit.
NO_SPREAD = 1e-7


@dataclass(frozen=True)
class Folds:
    """Which folds values are of, two or more. count: K, of how many in all. of: the fold of each value, in order."""

    count: int
    of: tuple[int, ...]

    @property
    def measured(self) -> int:
        """J, how many of them there are."""
        return len(set(self.of))

    def means(self, values: np.ndarray) -> np.ndarray:
        """Average the values (N,) of each fold: its seeds share what is tested on, and are no further folds."""
        return np.array([values[np.array(self.of) == fold].mean() for fold in sorted(set(self.of))])

    def interval(self, values: np.ndarray) -> tuple[float, float] | None:
        """Return the corrected t interval of the mean over folds; None without any spread.

        The variance between folds counts 1/J + n_test/n_train times, where uncorrected it is 1/J; for K folds of equal
        size n_test/n_train is 1/(K - 1). J - 1 degrees of freedom.
        """
        means = self.means(values)
        sd = float(means.std(ddof=1))
        if sd <= NO_SPREAD:
            return None
        half = stats.t.ppf((1 + LEVEL) / 2, len(means) - 1) * sd * np.sqrt(1 / len(means) + 1 / (self.count - 1))
        return float(means.mean() - half), float(means.mean() + half)


@dataclass(frozen=True)
class Summary:
    """sd: None for one value. interval: None where there are too few values for one. iqm: interquartile mean."""

    n: int
    mean: float
    sd: float | None
    iqm: float
    interval: tuple[float, float] | None


@dataclass(frozen=True)
class Paired:
    """An arm less its control, seed by seed, or fold by fold. sd, interval: None for one pair. better: P(the arm is
    better), ties half. sign: 1 where more is better, -1 where less is. folds: how many they are of, 0 for one or none.
    ratio: of the arm's mean to its control's, None where a quantity may be negative, such as a log density.
    """

    n: int
    mean: float
    sd: float | None
    interval: tuple[float, float] | None
    better: float
    sign: int = 1
    folds: int = 0
    ratio: float | None = None

    @property
    def shown(self) -> bool:
        """Tell whether the interval leaves zero out. Differences without any spread show nothing: a t test has none."""
        return self.interval is not None and bool(self.sd) and (self.interval[0] > 0 or self.interval[1] < 0)

    @property
    def p(self) -> float | None:
        """The two-sided p of the test that the interval inverts; None without an interval."""
        if self.interval is None:
            return None
        free = (self.folds or self.n) - 1
        half = (self.interval[1] - self.interval[0]) / 2
        return float(2 * stats.t.sf(abs(self.mean) / half * stats.t.ppf((1 + LEVEL) / 2, free), free))


def summarise(cells: Sequence[Sequence[float]], folds: Folds | None = None) -> Summary:
    """Summarise the values of one or several cells (tasks), each a sequence over seeds.

    folds: of which the values of each cell are; their interval is `Folds.interval`, of the mean over cells.

    The bootstrap draws within each cell (stratified, Agarwal et al. 2021, "Deep Reinforcement Learning at the Edge of
    the Statistical Precipice", section 4.2), so that tasks which differ in difficulty don't widen it.
    Raises ValueError without any value.
    """
    samples = [np.asarray(cell, dtype=float) for cell in cells if len(cell)]
    if not samples:
        raise ValueError("there is no value to summarise")
    values = np.concatenate(samples)
    # Of equal values numpy's mean, and with it their deviation, may be off by the last bit.
    sd = float(values.std(ddof=1)) if np.ptp(values) else 0.0
    over_cells = np.mean(samples, axis=0) if folds else values
    return Summary(
        n=len(values),
        mean=float((folds.means(over_cells) if folds else values).mean()),
        sd=sd if len(values) > 1 else None,
        iqm=float(stats.trim_mean(values, 0.25)),
        interval=folds.interval(over_cells) if folds else _bootstrap(samples),
    )


def compare(arm: Sequence[float], control: Sequence[float], sign: int = 1, folds: Folds | None = None) -> Paired:
    """Compare two arms of the same seeds, in the same order. Raises ValueError for unequal or no numbers of them.

    sign: 1 where more is better, -1 where less is. folds: of which the pairs are.
    """
    if len(arm) != len(control) or not len(arm):
        raise ValueError("a paired comparison needs as many values of the one as of the other, and at least one")
    differences = np.asarray(arm, dtype=float) - np.asarray(control, dtype=float)
    n = len(differences)
    better = float(np.mean((sign * differences > 0) + 0.5 * (differences == 0)))
    ratio = sum(arm) / sum(control) if sum(control) and min(*arm, *control) >= 0 else None
    mean, sd, interval = float(differences.mean()), None, None
    if folds is not None:
        mean, interval = float(folds.means(differences).mean()), folds.interval(differences)
    elif n > 1 and differences.std(ddof=1) > NO_SPREAD:
        low, high = stats.ttest_rel(arm, control).confidence_interval(LEVEL)
        interval = float(low), float(high)
    if n > 1:
        sd = float(differences.std(ddof=1)) if interval else 0.0
    return Paired(n, mean, sd, interval, better, sign, folds.measured if folds else 0, ratio)


def holm(p_values: Sequence[float | None]) -> list[float | None]:
    """Correct p values for their number, in the same order (Holm 1979). What has none is no test, and keeps None."""
    found = sorted((p, place) for place, p in enumerate(p_values) if p is not None)
    corrected: list[float | None] = [None] * len(p_values)
    highest = 0.0
    for rank, (p, place) in enumerate(found):
        highest = min(max(highest, p * (len(found) - rank)), 1.0)
        corrected[place] = highest
    return corrected


def share_variance(share: float, count: int) -> float:
    """Return the variance of a share of right examples, of `count` independent ones.

    Binomial, with two right and two wrong ones added (Agresti and Coull 1998, "Approximate Is Better than Exact"), so
    that it is not 0 for a share of 0 or 1.
    """
    adjusted = (share * count + 2) / (count + 4)
    return adjusted * (1 - adjusted) / (count + 4)


def sum_interval(mean: float, parts: Sequence[tuple[float, int]]) -> tuple[float, float]:
    """Return the t interval of a mean whose variance is the sum of independent parts, each with degrees of freedom.

    The sum's degrees of freedom are those of Welch and Satterthwaite (Satterthwaite 1946). Raises ValueError for parts
    that are all 0, or none.
    """
    variance = sum(part for part, _ in parts)
    if variance <= 0:
        raise ValueError("a mean without variance has no interval")
    free = variance**2 / sum(part**2 / of for part, of in parts)
    half = float(stats.t.ppf((1 + LEVEL) / 2, free)) * math.sqrt(variance)
    return mean - half, mean + half


def power(effect: float, n: np.ndarray | int) -> np.ndarray:
    """Return the power of two-sided paired t tests at 5 %.

    effect: mean difference over its standard deviation. n: of pairs, of each test.
    """
    critical = stats.t.ppf((1 + LEVEL) / 2, n - 1)
    shift = abs(effect) * np.sqrt(n)
    return stats.nct.sf(critical, n - 1, shift) + stats.nct.cdf(-critical, n - 1, shift)


def seeds_needed(mean: float, sd: float) -> int | None:
    """Return the fewest seeds that show a difference like this one with 80 % power; None for more than 1,000.

    mean, sd: of the paired differences, sd > 0. The observed effect stands for the true one, which it only estimates.
    """
    seeds = np.arange(2, MOST_SEEDS + 1)
    # Far beyond the answer scipy's noncentral t is not a number, and no more than that.
    enough = seeds[power(mean / sd, seeds) >= POWER]
    return int(enough[0]) if len(enough) else None


def _bootstrap(samples: list[np.ndarray]) -> tuple[float, float] | None:
    if min(len(sample) for sample in samples) < FEWEST_FOR_BOOTSTRAP:
        return None
    if all(np.ptp(sample) == 0 for sample in samples):
        return None
    weights = np.array([len(sample) for sample in samples]) / sum(len(sample) for sample in samples)

    def mean(*drawn: np.ndarray, axis: int) -> np.ndarray:
        return sum(weight * part.mean(axis=axis) for weight, part in zip(weights, drawn, strict=True))

    # scipy draws from each of several samples by itself, which is the stratified bootstrap.
    drawn = stats.bootstrap(
        samples, mean, n_resamples=RESAMPLES, confidence_level=LEVEL, method="percentile", vectorized=True, rng=0
    )
    return float(drawn.confidence_interval.low), float(drawn.confidence_interval.high)


# Numbers as they are read: as many digits as their spread leaves sense in, the same down a column.

NOTHING = "–"


def decimals(summaries: Sequence[Summary]) -> int:
    """Return the decimals at which the typical standard deviation has two digits; without any, the mean has four."""
    spreads = [summary.sd for summary in summaries if summary.sd]
    if spreads:
        return _decimals(median(spreads), digits=2)
    return max((_decimals(abs(summary.mean), digits=4) for summary in summaries if summary.mean), default=3)


def spread(summary: Summary | None, places: int) -> str:
    """Write mean ± standard deviation, which one value alone does not have."""
    if summary is None:
        return NOTHING
    mean = f"{summary.mean:.{places}f}"
    return mean if summary.sd is None else f"{mean} ± {summary.sd:.{places}f}"


def interval(bounds: tuple[float, float] | None, places: int, signed: bool = False) -> str:
    sign = "+" if signed else ""
    return NOTHING if bounds is None else f"[{bounds[0]:{sign}.{places}f}, {bounds[1]:{sign}.{places}f}]"


def ranges(numbers: Iterable[int]) -> str:
    """Write 0, 1, 2, 5 as 0–2, 5."""
    parts: list[list[int]] = []
    for number in sorted(set(numbers)):
        if parts and number == parts[-1][-1] + 1:
            parts[-1].append(number)
        else:
            parts.append([number])
    return ", ".join(str(part[0]) if len(part) == 1 else f"{part[0]}–{part[-1]}" for part in parts)


def _decimals(size: float, digits: int) -> int:
    return min(max(digits - 1 - math.floor(math.log10(size)), 0), 8)
