"""What may explain a sweep's numbers better than its arms do, in its data, its test set and its pretrainings.

All of it is read from what runs wrote; the thresholds are rules of thumb, and each sentence gives its numbers.
"""

import math
from collections.abc import Iterable, Sequence
from statistics import fmean
from typing import Annotated

from pydantic import BaseModel, Field

from aetransfer.data.targets import listed
from aetransfer.models.facts import Monitor
from aetransfer.report.answer import MOST_EXAMPLES, is_share, validated
from aetransfer.report.grouping import Group, group_runs
from aetransfer.report.statistics import share_variance
from aetransfer.report.tables import TextTable
from aetransfer.store.run import Facts, StoredRun, written

# Of the larger of a curve's last value and its whole way, in its last fifth.
FALLING = 0.03
FEWEST_EPOCHS = 5
# The share of the inputs' variance that a reconstruction must keep: below it is a blur, or the same for every input.
BLURRED, DEAD = 0.8, 0.1
# Standard errors, and points, between validation and test.
FAR, FAR_POINTS = 3.0, 0.05
# Of what has no example of a class: its name, and what that means.
WORDS = {"train": "training", "val": "validation", "test": "test"}
WHAT_FOLLOWS = {
    "train": "it can't be learnt",
    "val": "it has no say in which epoch is best",
    "test": "the test says nothing about it",
}


class Channels(BaseModel):
    deviation: Annotated[list[Annotated[float, Field(ge=0, le=1)]], Field(max_length=4096, min_length=1)]


class Taken(BaseModel):
    range: list[float] | None = None


class Card(BaseModel):
    """What is read of encoder.json. range: of pixels; inputs in units of their own have none."""

    normalisation: Channels
    input: Taken


def cautions(groups: Sequence[Group], monitor: Monitor, sources: Sequence[StoredRun]) -> list[str]:
    """Return a sentence each."""
    transfers = [group for group in groups if group.values(monitor.metric)]
    _, pretrainings = group_runs(list(sources))
    found = [
        *(said for group in pretrainings for said in (_still_falling(group), _blurred(group)) if said),
        *_far_from_validation(transfers, monitor),
        *_missing_classes(transfers),
    ]
    return list(dict.fromkeys(found))


def _still_falling(group: Group) -> str:
    """Say that a pretraining was getting better when it ended."""
    monitor = group.runs[0].model.compared
    if monitor is None:
        return ""
    shares, epochs = [], 0
    for run in group.runs:
        curve = [value for row in run.history if math.isfinite(value := row.get(monitor.metric, math.nan))]
        if len(curve) < FEWEST_EPOCHS:
            continue
        last = max(len(curve) // 5, 1)
        epochs = len(curve)
        way = max(abs(curve[-1]), abs(curve[-1] - curve[0]))
        shares.append(monitor.sign * (curve[-1] - curve[-1 - last]) / way if way else 0.0)
    if not shares or fmean(shares) < FALLING:
        return ""
    return (
        f"{_pretraining(group)} had not converged: {monitor.metric} still improved by {fmean(shares):.0%} in the last "
        f"{max(epochs // 5, 1)} of {epochs} epochs. Raise pretrain.trainer.max_epochs before you conclude that its "
        "encoder is worth little."
    )


def _blurred(group: Group) -> str:
    """Say that a pretraining's reconstructions keep little of its images.

    1 - MSE / variance, with the variance about each channel's mean, as the encoder normalises by it.
    """
    kept = []
    for run in group.runs:
        card, error = _card(run), run.tested.get("test/mse")
        # Of patches that were hidden nobody expects more than a blur.
        whole = run.model.does("reconstruct") and "hidden" not in run.model.words("mse")
        if card and card.input.range and error is not None and whole:
            variance = fmean(deviation**2 for deviation in card.normalisation.deviation)
            kept.append(1 - error / variance if variance else 1.0)
    if not kept or fmean(kept) >= BLURRED:
        return ""
    share = f"{max(fmean(kept), 0):.0%} of the images' variance"
    if fmean(kept) < DEAD:
        return f"{_pretraining(group)} reconstructs next to nothing ({share}): its decoder may be dead."
    return f"{_pretraining(group)} has blurred reconstructions: they keep {share}. Look at the pictures below."


def _far_from_validation(groups: Sequence[Group], monitor: Monitor) -> list[str]:
    said = []
    for group in groups:
        both = [
            (value, run)
            for run in group.runs
            if (value := validated(run, monitor)) is not None and monitor.metric in run.tested
        ]
        if not both or not is_share(group, monitor):
            continue
        val, test = fmean(value for value, _ in both), fmean(run.tested[monitor.metric] for _, run in both)
        counts = [fmean(run.counts.get(part, 0) for _, run in both) for part in ("val", "test")]
        if not (all(1 <= count < MOST_EXAMPLES for count in counts) and 0 <= val <= 1):
            continue
        error = math.sqrt(sum(share_variance(share, int(n)) for share, n in zip((val, test), counts, strict=True)))
        if abs(val - test) > max(FAR * error, FAR_POINTS):
            said.append((abs(val - test), group, val, test))
    if not said:
        return []
    _, group, val, test = max(said, key=lambda each: each[0])
    return [
        f"Validation is far from test in {len(said)} of {len(groups)} groups, most in {group.arm}: {val:.3f} against "
        f"{test:.3f}. The test data are of another kind, or the validation examples are too similar to the training "
        "examples."
    ]


def _missing_classes(groups: Sequence[Group]) -> list[str]:
    """Say which classes a part of the data has no example of, a sentence a part."""
    missing: dict[str, set[str]] = {}
    for run in (run for group in groups for run in group.runs):
        for part, names in run.facts.data.without.items():
            missing.setdefault(part, set()).update(names)
    return [
        f"No {WORDS[part]} example is of class {listed(sorted(missing[part]))}: {WHAT_FOLLOWS[part]}."
        for part in WORDS
        if missing.get(part)
    ]


def _pretraining(group: Group) -> str:
    run = group.runs[0]
    return f"The pretraining {run.settings.get('model.name')} on {run.settings.get('data.name')}"


def _card(run: StoredRun) -> Card | None:
    """Return an encoder's checked card, None where it is not there, is a link or holds something else."""
    path = run.directory.encoder_card
    try:
        return written(path, Card)
    except (OSError, ValueError):
        return None


def examples(transfers: Sequence[StoredRun], sources: Sequence[StoredRun]) -> TextTable:
    """Count examples, a row for each data set and amount of labels: of transfers, then of pretrainings."""
    counted: dict[tuple[str, ...], list[Facts]] = {}
    for what, run in [*(("transfer", run) for run in transfers), *(("pretraining", run) for run in sources)]:
        told = run.facts
        labels, fraction = run.settings.get("data.labels_per_class"), run.settings.get("data.train_fraction")
        part = f"{fraction:.0%}" if isinstance(fraction, float) else ""
        used = f"{labels} a class" if labels else part or ("all" if told.data.classes else "none")
        counted.setdefault((str(run.settings.get("data.name")), what, used), []).append(told)
    parts = ("train", "val", "test")
    rows = [
        dict(zip(("data", "of", "labels used"), key, strict=True))
        | {part: _range(told.counts.get(part) for told in those) for part in parts}
        | {"classes": _range(told.data.classes or None if told.data.used else None for told in those)}
        | {"test groups": _range(told.data.groups.test if told.data.groups else None for told in those)}
        for key, those in counted.items()
    ]
    return TextTable.of(rows, 3).telling(*parts, "classes", "test groups")


def _range(values: Iterable[float | None]) -> str:
    known = sorted({int(value) for value in values if value is not None and abs(value) < MOST_EXAMPLES})
    return "" if not known else f"{known[0]:,}" if len(known) == 1 else f"{known[0]:,}–{known[-1]:,}"
