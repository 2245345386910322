"""Whether transferability scores, taken before training, rank runs as their test metric does."""

import logging
import math
from collections.abc import Sequence
from typing import Annotated

from pydantic import BaseModel, Field
from scipy.stats import spearmanr, weightedtau

from aetransfer.files import read_json
from aetransfer.models.facts import Monitor
from aetransfer.report.collect import CollectedRun
from aetransfer.report.grouping import Group
from aetransfer.report.statistics import NOTHING
from aetransfer.report.tables import TextTable

log = logging.getLogger(__name__)

# Two runs are always in order, one way or the other.
LEAST = 3


class Written(BaseModel):
    """What a report reads of evaluation/transferability.json, in which NaN and infinity are words."""

    bottleneck: Annotated[dict[str, float | str], Field(max_length=20)]


def rank_correlations(groups: Sequence[Group], monitor: Monitor) -> TextTable | None:
    """One row an arm and score: rank correlations, over runs, of the score with how good the test metric is.

    The scores are those of evaluation/transferability.json. Weighted Kendall counts mistakes among the best for more
    (Vigna 2015; You et al. 2021). None where no arm has three runs with a score.
    """
    by_arm: dict[str, list[tuple[dict[str, float], float]]] = {}
    for group in groups:
        for run in group.runs:
            scores = _scores(run)
            if scores and monitor.metric in run.tested:
                by_arm.setdefault(str(group.arm), []).append((scores, monitor.sign * run.tested[monitor.metric]))
    rows = []
    for arm, measured in by_arm.items():
        for name in dict.fromkeys(name for scores, _ in measured for name in scores):
            scored = [scores[name] for scores, _ in measured if name in scores]
            reached = [value for scores, value in measured if name in scores]
            if len(scored) >= LEAST:
                rows.append([arm, name, *_correlations(scored, reached), str(len(scored))])
    return TextTable(["transfer", "score", "Spearman", "weighted Kendall", "n"], rows, 2) if rows else None


def _correlations(scored: list[float], reached: list[float]) -> list[str]:
    if len(set(scored)) == 1 or len(set(reached)) == 1:
        return [NOTHING, NOTHING]
    return [f"{spearmanr(scored, reached).statistic:+.2f}", f"{weightedtau(scored, reached).statistic:+.2f}"]


def _scores(run: CollectedRun) -> dict[str, float]:
    """Return those scores of a run that are numbers."""
    path = run.directory.path / "evaluation" / "transferability.json"
    if not path.is_file():
        return {}
    try:
        if path.is_symlink():
            raise ValueError("it is a link")
        written = Written.model_validate(read_json(path)).bottleneck
    except (OSError, ValueError):
        log.warning("%s is damaged: its scores are left out.", path)
        return {}
    numbers = {name: score for name, score in written.items() if isinstance(score, float) and math.isfinite(score)}
    for name in written.keys() - numbers.keys():
        log.warning("%s: %s is no number and left out.", path, name)
    return numbers
