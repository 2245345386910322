"""Whether what was promised before training is what came of it: transferability scores against the accuracy reached."""

import json
from collections.abc import Sequence

from scipy.stats import spearmanr, weightedtau

from aetransfer.sweeps.collect import CollectedRun
from aetransfer.sweeps.grouping import Group
from aetransfer.sweeps.numbers import NOTHING
from aetransfer.sweeps.tables import TextTable

# Two runs are always in order, one way or the other.
LEAST = 3


def promises(groups: Sequence[Group], metric: str) -> TextTable | None:
    """One row an arm and score: rank correlations, over runs, of the score with the metric.

    The scores are those of evaluation/transferability.json. Weighted Kendall counts mistakes among the best for more
    (Vigna 2015; You et al. 2021). None where no arm has three runs with scores.
    """
    by_arm: dict[str, list[tuple[dict[str, float], float]]] = {}
    for group in groups:
        for run in group.runs:
            scores = _scores(run)
            if scores and metric in run.tested:
                by_arm.setdefault(str(group.arm), []).append((scores, run.tested[metric]))
    rows = []
    for arm, measured in by_arm.items():
        if len(measured) < LEAST:
            continue
        reached = [value for _, value in measured]
        for name in measured[0][0]:
            promised = [scores[name] for scores, _ in measured]
            rows.append([arm, name, *_correlations(promised, reached), str(len(measured))])
    return TextTable(["transfer", "score", "Spearman", "weighted Kendall", "n"], rows, 2) if rows else None


def _correlations(promised: list[float], reached: list[float]) -> list[str]:
    if len(set(promised)) == 1 or len(set(reached)) == 1:
        return [NOTHING, NOTHING]
    return [f"{spearmanr(promised, reached).statistic:+.2f}", f"{weightedtau(promised, reached).statistic:+.2f}"]


def _scores(run: CollectedRun) -> dict[str, float]:
    path = run.directory.path / "evaluation" / "transferability.json"
    return json.loads(path.read_text())["bottleneck"] if path.is_file() else {}
